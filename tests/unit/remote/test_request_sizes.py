"""How much one request carries: pure policy."""

from __future__ import annotations

from sftpfs.remote.request_sizes import LOSSES, SAFE, SHORTS, RequestSizes

LARGE = 4 * SAFE


def sizes_with_limit() -> RequestSizes:
    """As after the greeting of a server that says it takes much."""
    sizes = RequestSizes()
    sizes.set_limit(LARGE)
    return sizes


def test_what_was_taken_is_not_doubted_again() -> None:
    sizes = sizes_with_limit()
    assert sizes.unproven(LARGE) and not sizes.unproven(SAFE)
    sizes.accepted(LARGE)
    assert not sizes.unproven(LARGE) and sizes.unproven(LARGE + 1)


def test_a_refusal_lowers_the_limit_for_sessions_to_come_as_well() -> None:
    sizes = sizes_with_limit()
    sizes.rejected()
    assert (sizes.limit, sizes.shrunk) == (SAFE, 1)
    sizes.set_limit(LARGE)
    assert sizes.limit == SAFE


def test_one_loss_may_be_chance_and_one_session_is_one_loss() -> None:
    sizes = sizes_with_limit()
    for _ in range(10):
        sizes.session_lost(1)
    assert sizes.limit == LARGE
    for generation in range(2, LOSSES + 1):
        sizes.session_lost(generation)
    assert sizes.limit == SAFE


def test_replies_cut_to_one_size_show_a_limit() -> None:
    sizes = sizes_with_limit()
    for _ in range(SHORTS - 1):
        sizes.short_reply(SAFE)
    sizes.short_reply(SAFE // 2)  # a chance
    assert sizes.limit == LARGE
    for _ in range(SHORTS):
        sizes.short_reply(SAFE)
    assert sizes.limit == SAFE


def test_tiny_replies_lower_nothing() -> None:
    sizes = sizes_with_limit()
    for _ in range(10 * SHORTS):
        sizes.short_reply(100)
    assert sizes.limit == LARGE
