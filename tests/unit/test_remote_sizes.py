"""How much one request carries: pure policy."""

from __future__ import annotations

from sftpfs.remote.sizes import LOSSES, SAFE, SHORTS, RequestSizes

LARGE = 4 * SAFE


def told() -> RequestSizes:
    """As after the greeting of a server that says it takes much."""
    sizes = RequestSizes()
    sizes.told(LARGE)
    return sizes


def test_what_was_taken_is_not_doubted_again() -> None:
    sizes = told()
    assert sizes.doubtful(LARGE) and not sizes.doubtful(SAFE)
    sizes.taken(LARGE)
    assert not sizes.doubtful(LARGE) and sizes.doubtful(LARGE + 1)


def test_a_refusal_lowers_the_limit_for_sessions_to_come_as_well() -> None:
    sizes = told()
    sizes.refused()
    assert (sizes.limit, sizes.shrunk) == (SAFE, 1)
    sizes.told(LARGE)
    assert sizes.limit == SAFE


def test_one_loss_may_be_chance_and_one_session_is_one_loss() -> None:
    sizes = told()
    for _ in range(10):
        sizes.lost(1)
    assert sizes.limit == LARGE
    for generation in range(2, LOSSES + 1):
        sizes.lost(generation)
    assert sizes.limit == SAFE


def test_replies_cut_to_one_size_show_a_limit() -> None:
    sizes = told()
    for _ in range(SHORTS - 1):
        sizes.cut(SAFE)
    sizes.cut(SAFE // 2)  # a chance
    assert sizes.limit == LARGE
    for _ in range(SHORTS):
        sizes.cut(SAFE)
    assert sizes.limit == SAFE


def test_tiny_replies_lower_nothing() -> None:
    sizes = told()
    for _ in range(10 * SHORTS):
        sizes.cut(100)
    assert sizes.limit == LARGE
