"""A tiny tree like that of Tux Paint's stamps."""

from pathlib import Path

from tests.media import encoded, gradient, sound, tone

CAPTION = "{name}.\nde.utf8=Ein {name}.\nfr.utf8=Un {name}.\nde_CH.utf8=Es {name}.\n"


def write_stamps(folder: Path) -> Path:
    """Five animals, of which the fox is drawn thrice, three foods, and a tool.

    All have a French name but the owl. The cow has an English name too, and two have sounds of
    their own. One animal is SVG alone, and a mirrored picture has no caption.
    """
    for number, name in enumerate(("cow", "owl", "fox", "fox2", "fox_3")):
        _stamp(folder / "animals" / "wild" / name, number)
    for number, name in enumerate(("apple", "bread", "4")):
        _stamp(folder / "food" / name, 10 + number)
    _stamp(folder / "tools" / "saw", 20)
    animals = folder / "animals" / "wild"
    (animals / "owl_desc_fr.ogg").unlink()
    _speak(animals / "cow_desc.ogg", 31)
    _speak(animals / "owl.wav", 32)
    _speak(animals / "cow.ogg", 33)
    (animals / "cow_mirror.png").write_bytes(encoded(gradient(), "PNG"))
    (animals / "yak.txt").write_text("A yak.\n")
    (animals / "yak.svg").write_text("<svg/>")
    return folder


def write_many_stamps(folder: Path, count: int) -> Path:
    """So many animals and as many foods, all with a French name: "animals/wild/0", "food/0", ..."""
    for number in range(count):
        _stamp(folder / "animals" / "wild" / str(number), number)
        _stamp(folder / "food" / str(number), 100 + number)
    return folder


def _stamp(place: Path, number: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    picture = encoded(gradient(size=(40 + number, 40)), "PNG")
    place.with_name(f"{place.name}.png").write_bytes(picture)
    caption = CAPTION.format(name=place.name)
    place.with_name(f"{place.name}.txt").write_text(caption, encoding="utf-8")
    _speak(place.with_name(f"{place.name}_desc_fr.ogg"), number)


def _speak(file: Path, number: int) -> None:
    kind, subtype = ("OGG", "VORBIS") if file.suffix == ".ogg" else ("WAV", None)
    file.write_bytes(sound(tone(0.1, hertz=200 + 20 * number), kind=kind, subtype=subtype))
