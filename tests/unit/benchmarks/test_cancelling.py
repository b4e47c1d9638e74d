"""Which of curl's requests were given up."""

from benchmarks.cancelling import given_up


def test_a_client_that_left_and_a_deadline_that_passed_are_given_up() -> None:
    """An answer is not, nor is a refusal, nor what curl says besides."""
    assert given_up("28 000\n0 504\n0 200\n0 429\ncurl: anything\n\n") == 2
