"""The `sensemesh` command, one file a subcommand."""
