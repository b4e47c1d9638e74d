"""Admission: so many requests and so many bytes at once, and everything is given back."""

import threading
from contextlib import ExitStack

import pytest

from gateway.admission import Admission
from gateway.sharing import Tally
from mesh.errors import Overloaded


def used(tally: Tally) -> tuple[int, int]:
    return tally.requests, tally.bytes


def test_requests_are_taken_up_to_their_number() -> None:
    """The one beyond is refused, and taken when another has gone."""
    tally = Tally()
    admission = Admission(2, 100, tally)
    with ExitStack() as inside:
        inside.enter_context(admission.admit(0))
        with admission.admit(0), pytest.raises(Overloaded), admission.admit(0):
            pass
        inside.enter_context(admission.admit(0))
    assert used(tally) == (0, 0)


def test_bytes_are_taken_up_to_their_number() -> None:
    """Exactly all of them fit; one more does not, and takes no place either."""
    tally = Tally()
    admission = Admission(10, 100, tally)
    with admission.admit(60), admission.admit(40):
        with pytest.raises(Overloaded), admission.admit(1):
            pass
        assert used(tally) == (2, 100)
    assert used(tally) == (0, 0)


def test_a_reservation_grows_within_the_same_bounds() -> None:
    """What it grew by is given back with the rest, and a refused growth is not counted."""
    tally = Tally()
    admission = Admission(10, 100, tally)
    with admission.admit(0) as reservation:
        reservation.grow(70)
        with pytest.raises(Overloaded):
            reservation.grow(31)
        reservation.grow(30)
        assert used(tally) == (1, 100)
    assert used(tally) == (0, 0)


def test_a_reservation_that_is_over_does_not_grow() -> None:
    """A thread that still reads for a request that is gone takes nothing any more."""
    tally = Tally()
    admission = Admission(10, 100, tally)
    with admission.admit(0) as reservation:
        pass
    with pytest.raises(Overloaded):
        reservation.grow(1)
    assert used(tally) == (0, 0)


def test_errors_inside_give_everything_back() -> None:
    """Whatever happens to a request, its place is free again."""
    tally = Tally()
    admission = Admission(1, 100, tally)

    def fail_inside() -> None:
        with admission.admit(50) as reservation:
            reservation.grow(10)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail_inside()
    assert used(tally) == (0, 0)


def test_counting_holds_between_threads() -> None:
    """Many threads that come and go leave nothing behind."""
    tally = Tally()
    admission = Admission(4, 1000, tally)

    def come_and_go() -> None:
        for _ in range(300):
            try:
                with admission.admit(100) as reservation:
                    reservation.grow(100)
            except Overloaded:
                continue

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert used(tally) == (0, 0)
