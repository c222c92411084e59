"""Histograms: what is counted comes out again, within the width of a bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.histogram import BOUNDS, Histogram

SECONDS = st.floats(0, 50)


@given(st.lists(SECONDS, min_size=1, max_size=50), st.floats(0, 1))
def test_a_percentile_is_right_within_a_bucket(taken: list[float], share: float) -> None:
    histogram = Histogram()
    for seconds in taken:
        histogram.count(seconds)
    found = histogram.percentile(share)
    assert found is not None
    ranked = sorted(taken)
    exact = ranked[max(0, min(len(ranked) - 1, -int(-share * len(ranked) // 1) - 1))]
    assert found <= max(exact * 1.42, BOUNDS[0])
    assert found >= min(exact / 1.42, exact - BOUNDS[0])
    assert histogram.total == len(taken)
    assert histogram.seconds == pytest.approx(sum(taken))


@given(st.lists(SECONDS), st.lists(SECONDS))
def test_sums_and_differences(first: list[float], second: list[float]) -> None:
    before, both = Histogram(), Histogram()
    for seconds in first:
        before.count(seconds)
    both.add(before)
    later = Histogram()
    for seconds in second:
        both.count(seconds)
        later.count(seconds)
    assert both.since(before).counts == later.counts
    assert Histogram.of(both.values()).counts == both.counts


def test_of_nothing_there_is_no_percentile() -> None:
    assert Histogram().percentile(0.5) is None
    slow = Histogram()
    slow.count(1e6)
    assert slow.percentile(0.5) == BOUNDS[-1] * 1.5
    with pytest.raises(ValueError, match="another version"):
        Histogram.of({"counts": [1], "seconds": 0})
