"""What is read of the load generator's output."""

import math
from pathlib import Path

import pytest

from benchmarks.answers import Answer, Answers, parse_answers, percentile
from benchmarks.bodies import Bodies
from benchmarks.load import Closed, Open, Target, closed_loop, open_loop, parse_summary, send
from benchmarks.processes import BenchError

SUMMARY = """Running 5s test @ http://127.0.0.1:1/predict

{"requests": 90, "seconds": 5.0, "refused": 0, "lost": 0, "busy": 4.0, "p50": 0.1, "p99": 1}
"""
LOG = "200 0.25 0.001 0.5\n429 0.003 0.0 1.5\n200 0.75 0.004 3.5\n"

# Stands for wrk: it gives what a test says, as output and as the log of answers.
GENERATOR = """#!/bin/sh
echo "$@" > "$0.asked"
for argument in "$@"; do
  case "$argument" in log=*) printf '%s' "$LOG" > "${argument#log=}";; esac
done
printf '%s' "$SUMMARY"
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Where load is sent, by a generator that only says so."""
    generator = tmp_path / "wrk"
    generator.write_text(GENERATOR)
    generator.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SUMMARY", SUMMARY)
    monkeypatch.setenv("LOG", LOG)
    (tmp_path / "words").write_text("able\n")
    (tmp_path / "body").write_text("any")
    (tmp_path / "listing").write_text(str(tmp_path / "body"))
    return Target("nowhere://here", Bodies(tmp_path / "listing", tmp_path / "words", "t", 3))


def test_the_script_s_last_line_is_the_summary() -> None:
    """What wrk prints before it is for people."""
    assert parse_summary(SUMMARY, "")["requests"] == 90


def test_a_generator_that_says_nothing_fails_with_its_own_words() -> None:
    """Such as that nothing listens there."""
    with pytest.raises(BenchError, match="unable to connect"):
        parse_summary("", "unable to connect to 127.0.0.1:1\n")


def test_answers_are_read_line_by_line() -> None:
    """Status, latency, how late the request was sent, and when the answer came."""
    assert parse_answers(LOG)[1] == Answer(429, 0.003, 0.0, 1.5)


def test_a_closed_loop_counts_from_when_every_connection_was_answered(target: Target) -> None:
    """Of 90 answers those after the first 10, in the 4 s that the server was busy."""
    assert closed_loop(target, Closed(10, 5)).rate == 80 / 4


def test_a_closed_loop_of_known_inputs_counts_all_of_its_time(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script does not look at each of their answers."""
    monkeypatch.setenv("SUMMARY", SUMMARY.replace('"busy": 4.0', '"busy": 0'))
    assert closed_loop(target, Closed(10, 5, fresh=0)).rate == 90 / 5


def test_a_closed_loop_in_which_a_request_was_refused_is_no_measurement(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal is less work than an answer."""
    monkeypatch.setenv("SUMMARY", SUMMARY.replace('"refused": 0', '"refused": 1'))
    with pytest.raises(BenchError, match="not all requests were answered"):
        closed_loop(target, Closed(10, 5))


def test_what_only_sends_counts_answers_and_lets_others_be_refused(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is memory that is looked at."""
    monkeypatch.setenv("SUMMARY", SUMMARY.replace('"refused": 0', '"refused": 1'))
    assert send(target, Closed(10, 5)) == 89


def test_an_open_loop_counts_from_the_end_of_its_ramp(target: Target, tmp_path: Path) -> None:
    """Answers by when they came, which a slow one does late; latencies by when they were due."""
    answers = open_loop(target, Open(1, 2, ramp=1))
    assert " -d5 " in (tmp_path / "wrk.asked").read_text()
    assert answers.latencies() == [0.003, 0.75]
    assert answers.latencies(200) == [0.75]
    assert (answers.rate(), answers.rate(200)) == (0.5, 0)


def test_an_open_loop_that_lost_answers_is_no_measurement(target: Target) -> None:
    """At a thousand a second there had to be more than two of those that count."""
    with pytest.raises(BenchError, match="2 answers at 1000/s"):
        open_loop(target, Open(1000, 2, ramp=1))


def test_rates_are_of_what_came_and_latencies_of_what_was_due() -> None:
    """Of those with a status, where one is named."""
    came = [Answer(200, 0.1, 0.0, 1.0), Answer(429, 0.1, 0.0, 1.5)]
    due = [Answer(200, 0.5, 0.2, 2.5), Answer(200, 0.1, 0.0, 1.0)]
    answers = Answers(came, due, 2.0, cpu=0.1)
    assert (answers.rate(), answers.rate(200)) == (1.0, 0.5)
    assert (answers.latencies(), answers.latencies(429), answers.late) == ([0.1, 0.5], [], 0.2)


def test_a_percentile_is_one_of_the_values() -> None:
    """The least that so large a share does not exceed."""
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (50, 99)
    assert percentile([7.0], 0.99) == 7
    assert math.isnan(percentile([], 0.5))


def test_inputs_may_be_fresh_each_by_its_own_share() -> None:
    """Or all by the same."""
    assert Closed(1, 1, (0, 0, 1)).shares(3) == (0, 0, 1)
    assert Closed(1, 1, 0.5).shares(2) == (0.5, 0.5)
    assert Open(1, 1, 1).shares(2) == (1, 1)
