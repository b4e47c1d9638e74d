"""Every service killed in turn under load: what callers see, and how long until all is well."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.deploy.stack import MODALITY_OF, SERVICES, Stack, note, run
from tests.e2e.asking import Load, ask_all, everything, load, predict
from tests.waiting import within

RECOVERY = 120.0  # seconds; most of it is Python starting, on a busy machine
NOTICE = 30.0


@pytest.fixture
def under_load(stack: Stack) -> Iterator[Load]:
    """Two callers that ask for three new inputs again and again."""
    with load(ask_all(stack.url), clients=2, pause=0.1) as result:
        result.wait_for(5)
        yield result


def is_whole(stack: Stack) -> bool:
    """Whether an answer rests on all three modalities."""
    try:
        response = predict(stack.url, everything())
    except httpx.HTTPError:
        return False
    return response.status_code == 200 and not response.json()["degraded"]


def kill(stack: Stack, service: str) -> float:
    """Kill a service's container; Docker leaves one alone that was killed by hand. The time."""
    [container] = stack.containers(service)
    run(["docker", "kill", container])
    return time.monotonic()


def recover(stack: Stack, service: str) -> float:
    """Start it again; seconds until an answer is whole."""
    started = time.monotonic()
    stack.compose("up", "--detach", "--no-deps", service)
    within(RECOVERY, lambda: is_whole(stack), lambda: f"{service} is not back")
    return time.monotonic() - started


def seen(under_load: Load, wanted: str) -> float:
    """Seconds until the load saw what it should see; AssertionError where it did not."""
    before = len(under_load.answers), len(under_load.lost)

    def found() -> bool:
        answers = under_load.answers[before[0] :]
        return {
            "degraded": any(status == 200 and body["degraded"] for status, body in answers),
            "503": any(status == 503 for status, _ in answers),
            "lost": len(under_load.lost) > before[1],
            "nothing": len(answers) >= 10,
        }[wanted]

    return within(NOTICE, found, lambda: f"never {wanted}: {under_load.codes}, {under_load.lost}")


@pytest.mark.parametrize("service", MODALITY_OF)
def test_an_encoder_that_is_killed_costs_its_modality(
    stack: Stack, under_load: Load, figures: list[str], service: str
) -> None:
    """Every request is answered, those in between without it."""
    kill(stack, service)
    noticed = seen(under_load, "degraded")
    seconds = recover(stack, service)
    note(
        figures,
        f"kill {service}: degraded after {noticed:.1f} s, whole {seconds:.1f} s after start",
    )
    assert set(under_load.codes) == {200}
    assert under_load.lost == []
    failed = {
        modality
        for body in under_load.degraded
        for modality, report in body["modalities"].items()
        if report["status"] == "failed"
    }
    assert failed == {MODALITY_OF[service]}


def test_fusion_that_is_killed_is_told(stack: Stack, under_load: Load, figures: list[str]) -> None:
    """Requests are 503 until it is back; none is left without an answer."""
    kill(stack, "fusion")
    noticed = seen(under_load, "503")
    seconds = recover(stack, "fusion")
    note(figures, f"kill fusion: 503 after {noticed:.1f} s, whole {seconds:.1f} s after start")
    assert set(under_load.codes) == {200, 503}
    assert under_load.lost == []


def test_redis_that_is_killed_costs_nothing(
    stack: Stack, under_load: Load, figures: list[str]
) -> None:
    """Every answer is whole, before and after."""
    kill(stack, "redis")
    seen(under_load, "nothing")
    seconds = recover(stack, "redis")
    note(figures, f"kill redis: no answer differs, whole {seconds:.1f} s after start")
    under_load.require_whole()


def test_a_gateway_that_is_killed_is_back(
    stack: Stack, under_load: Load, figures: list[str]
) -> None:
    """It is the only one: callers are refused until it is."""
    kill(stack, "gateway")
    noticed = seen(under_load, "lost")
    seconds = recover(stack, "gateway")
    note(figures, f"kill gateway: refused after {noticed:.1f} s, whole {seconds:.1f} s after start")


def test_whatever_crashes_starts_again_by_itself(stack: Stack, figures: list[str]) -> None:
    """All processes at once, killed from outside of their containers, as by the kernel."""
    states = [stack.inspect(service)["State"] for service in SERVICES]
    crash = "import os, sys; [os.kill(int(pid), 9) for pid in sys.argv[1:]]"
    host = ["docker", "run", "--rm", "--pid", "host", "--user", "0", "sensemesh/gateway:test"]
    started = time.monotonic()
    run([*host, "python", "-c", crash, *(str(state["Pid"]) for state in states)])
    within(RECOVERY, lambda: is_whole(stack), lambda: "the mesh is not back")
    note(figures, f"crash of all at once: whole after {time.monotonic() - started:.1f} s")
    counts = {service: stack.inspect(service)["RestartCount"] for service in SERVICES}
    assert all(count > 0 for count in counts.values()), counts
