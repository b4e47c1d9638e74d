"""This process's own memory of bytes by key."""

from gateway.local_store import LocalStore


def test_the_least_recently_used_goes_first() -> None:
    """Memory stays within its bytes, and reading counts as use."""
    local = LocalStore(3 * (256 + 1 + 1))
    for key in "abc":
        local.put(key, b"1")
    local.get("a")
    local.put("d", b"1")
    assert [local.get(key) is not None for key in "abcd"] == [True, False, True, True]


def test_an_entry_larger_than_memory_is_not_kept() -> None:
    """And it pushes nothing else out."""
    local = LocalStore(1000)
    local.put("small", b"x")
    local.put("big", b"x" * 2000)
    assert local.get("big") is None
    assert local.get("small") == b"x"


def test_replacing_an_entry_frees_its_bytes() -> None:
    """The same key again and again never fills memory."""
    local = LocalStore(2000)
    local.put("other", b"1")
    for _ in range(100):
        local.put("same", b"x" * 1000)
    assert local.get("other") == b"1"
