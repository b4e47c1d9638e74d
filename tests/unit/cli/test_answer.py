"""How an answer looks in a terminal."""

import copy
from typing import Any

from rich.console import Console

from cli.answer import rendered

ANSWER: dict[str, Any] = {
    "prediction": "joy",
    "index": 1,
    "probability": 0.9731,
    "probabilities": {"anger": 0.0204, "joy": 0.9731, "sadness": 0.0065},
    "modalities": {
        "text": {"status": "computed", "truncated": True},
        "image": {"status": "cached"},
        "audio": {"status": "absent"},
    },
    "degraded": False,
    "model": {"name": "emotion6", "version": "sha256:" + "0123456789abcdef" * 4},
    "timing_ms": {"total": 12.34, "cache": 0.61, "encode": 9.1, "fuse": 1.2},
    "request_id": "r-1",
}


def shown(answer: dict[str, Any]) -> list[str]:
    """The lines of a terminal of 100 columns, without colours and with single spaces."""
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(rendered(answer))
    return [" ".join(line.split()) for line in capture.get().splitlines() if line.strip()]


def line(lines: list[str], start: str) -> str:
    """The one line that starts so."""
    [found] = [one for one in lines if one.startswith(start)]
    return found


def test_the_class_stands_first() -> None:
    """With its probability."""
    assert shown(ANSWER)[0] == "joy 97.3%"


def test_classes_are_ranked() -> None:
    """All of them, the likeliest first, each with a bar."""
    lines = shown(ANSWER)
    ranks = [lines.index(line(lines, start)) for start in ("joy ━", "anger", "sadness")]
    assert ranks == sorted(ranks)
    assert line(lines, "joy ━").endswith("0.973")


def test_every_modality_has_its_status() -> None:
    """And says where its input was cut."""
    lines = shown(ANSWER)
    assert "computed (truncated)" in line(lines, "text")
    assert "cached" in line(lines, "image")
    assert "absent" in line(lines, "audio")
    assert not any("contribution" in one for one in lines)


def test_contributions_are_shown_where_they_were_asked_for() -> None:
    """A modality that stands alone has none."""
    answer = copy.deepcopy(ANSWER)
    answer["modalities"]["text"]["contribution"] = 0.412
    answer["modalities"]["image"]["contribution"] = None
    lines = shown(answer)
    assert line(lines, "text").endswith("+0.412")
    assert line(lines, "image").endswith("-")


def test_a_degraded_answer_says_so_and_why() -> None:
    """The failed modality's error is shown as the server worded it, even in odd words."""
    answer = copy.deepcopy(ANSWER)
    answer["degraded"] = True
    error = {"code": "UNAVAILABLE", "message": "no [bold]answer[/bold] :bomb:"}
    answer["modalities"]["audio"] = {"status": "failed", "error": error}
    lines = shown(answer)
    assert "degraded" in lines[0]
    assert "failed: UNAVAILABLE, no [bold]answer[/bold] :bomb:" in line(lines, "audio")


def test_times_model_and_request_stand_last() -> None:
    """In milliseconds, and with enough of the version to tell it from others."""
    assert shown(ANSWER)[-2:] == [
        "12.3 ms (cache 0.6, encode 9.1, fuse 1.2)",
        "model emotion6 sha256:0123456789ab, request r-1",
    ]
