"""`sensemesh`: names the subcommands, and imports each one only when it is asked for."""

import importlib

import click

# Each is the command of the same name in the module of the same name.
SUBCOMMANDS = ("data", "train", "evaluate", "verify", "up", "predict")


class LazyGroup(click.Group):
    """A group whose commands are imported on first use, so that none pays for another's imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The subcommands, in the order of the help page."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None where there is none."""
        if cmd_name not in SUBCOMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sensemesh", message="%(prog)s %(version)s")
def main() -> None:
    """Classify what a person said, showed and sounded like.

    `sensemesh up` starts the whole mesh on this machine; `sensemesh predict` asks it.
    """


if __name__ == "__main__":
    main(prog_name="sensemesh")
