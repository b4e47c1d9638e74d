"""Make a manifest out of the stamps of Tux Paint: pictures with a caption and a spoken name.

    FROM/animals/birds/crow.png, crow.txt, crow_desc_fr.ogg (its name in French), crow.ogg
    TO/manifest.csv, TO/images/animals/birds/crow.png, TO/audio/animals/birds/crow_desc_fr.ogg

A stamp's class is its top folder. Its group is its name without a number at the end, so that the
drawings of one thing come into one split.
"""

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.built import Built
from training.errors import TrainingError
from training.manifest import write_manifest

# Where Debian's package tuxpaint-stamps-default puts them.
STAMPS: Final = Path("/usr/share/tuxpaint/stamps")
# So many stamps a class should have, and the speech that most of them come with.
LEAST: Final = 30
SPEECH: Final = "fr"

FOLDERS: Final = {"image": "images", "audio": "audio"}
NUMBER: Final = re.compile(r"(?<=[^\W\d_])[-_]?\d+$")


@dataclass(frozen=True, slots=True)
class Stamp:
    """One picture, by its name below the folder of all: "animals/birds/crow"."""

    name: str
    picture: Path
    caption: str
    sound: Path | None

    @property
    def label(self) -> str:
        """The top folder."""
        return self.name.partition("/")[0]


def build_tuxpaint(
    source: Path,
    target: Path,
    language: str = "en",
    speech: str = SPEECH,
    least: int = LEAST,
    progress: Callable[[int], object] = lambda done: None,
) -> Built:
    """Read the stamps below `source`, copy pictures and sounds, and write the manifest.

    `language` is that of the captions and `speech` that of the spoken names, as the stamps' files
    write them: "en", "fr", "pt_BR". Classes of fewer than `least` stamps are left out. `progress`
    is told how many rows were written. Raises TrainingError where no class is left.
    """
    built = Built(target / "manifest.csv")
    stamps = list(_stamps(source, language, speech, built))
    sizes = Counter(stamp.label for stamp in stamps)
    rows = []
    for stamp in stamps:
        if sizes[stamp.label] >= least:
            rows.append(_write(target, source, stamp))
            built.kept[stamp.label] += 1
            progress(len(rows))
        else:
            built.left_out[f"in a class of fewer than {least}"] += 1
    if not rows:
        raise TrainingError(f"{source} has no class of {least} stamps")
    write_manifest(built.manifest, rows)
    return built


def _stamps(source: Path, language: str, speech: str, built: Built) -> Iterator[Stamp]:
    """The stamps that are PNG files; what belongs to a stamp begins with its name."""
    for file in sorted(source.glob("*/**/*.txt")):
        picture = file.with_suffix(".png")
        if picture.exists():
            name = file.relative_to(source).with_suffix("").as_posix()
            yield Stamp(name, picture, _caption(file, language), _sound(file, speech))
        else:
            built.left_out["drawn as SVG alone"] += 1


def _caption(file: Path, language: str) -> str:
    """English on the first line, the others each behind their code; "" where it is not there."""
    first, *others = file.read_text(encoding="utf-8").split("\n")
    start = f"{language}.utf8="
    translated = (line.removeprefix(start) for line in others if line.startswith(start))
    return first if language == "en" else next(translated, "")


def _sound(file: Path, speech: str) -> Path | None:
    """The name spoken in this language, else in English, else what the thing sounds like.

    Sounds in a language that belong to no description are names too: those of letters and numbers.
    """
    endings = ("_desc", "") if speech == "en" else (f"_desc_{speech}", f"_{speech}", "_desc", "")
    names = (f"{file.stem}{ending}{kind}" for ending in endings for kind in (".ogg", ".wav"))
    return next((sound for name in names if (sound := file.with_name(name)).exists()), None)


def _write(target: Path, source: Path, stamp: Stamp) -> dict[str, str]:
    """A row of the manifest, and copies of the files that it names."""
    files = {"image": stamp.picture} | ({"audio": stamp.sound} if stamp.sound else {})
    row = {"text": stamp.caption, "label": stamp.label, "group": NUMBER.sub("", stamp.name)}
    for column, file in files.items():
        row[column] = f"{FOLDERS[column]}/{file.relative_to(source).as_posix()}"
        (target / row[column]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / row[column])
    return row
