"""The benchmark's statistics."""

from __future__ import annotations

import pytest

from tests.bench.results import Outcome, Status, Summary, percentile, ratio, summarise


def done(seconds: float, **figures: float) -> Outcome:
    return Outcome(Status.DONE, seconds, figures, memory=int(seconds * 10), fetched=100)


def test_median_of_all_runs_with_its_range() -> None:
    summary = summarise([done(3.0), done(1.0), done(2.5)])
    assert summary is not None
    assert (summary.seconds, summary.lowest, summary.highest) == (2.5, 1.0, 3.0)


def test_figures_are_medians_and_memory_is_the_most() -> None:
    summary = summarise([done(1.0, speed=10.0), done(2.0, speed=20.0), done(9.0, speed=90.0)])
    assert summary is not None
    assert summary.figures == {"speed": 20.0}
    assert summary.memory == 90
    assert summary.fetched == 100


def test_a_figure_only_some_runs_have() -> None:
    summary = summarise([done(1.0, speed=10.0), done(2.0)])
    assert summary is not None
    assert summary.figures == {"speed": 10.0}


def test_nothing_of_no_runs() -> None:
    assert summarise([]) is None


@pytest.mark.parametrize("status", [Status.FAILED, Status.LIMIT])
def test_one_bad_run_stands_for_all(status: Status) -> None:
    summary = summarise([done(1.0), Outcome(status, 60.0, problem="why"), done(2.0)])
    assert summary is not None
    assert summary.status is status
    assert summary.problem == "why"
    assert summary.memory == 20


def test_failure_outweighs_limit() -> None:
    summary = summarise([Outcome(Status.LIMIT, 60.0), Outcome(Status.FAILED)])
    assert summary is not None
    assert summary.status is Status.FAILED


@pytest.mark.parametrize(("share", "expected"), [(0.5, 20), (0.95, 40), (1.0, 40), (0.75, 30), (0.01, 10)])
def test_percentile_is_a_value_that_occurred(share: float, expected: int) -> None:
    assert percentile([40, 10, 30, 20], share) == expected


def test_ratio_says_how_many_times_faster() -> None:
    assert ratio(Summary(Status.DONE, 10.0), Summary(Status.DONE, 2.0)) == 5.0


def test_ratio_to_a_reference_at_its_limit_is_a_lower_bound() -> None:
    assert ratio(Summary(Status.LIMIT, 60.0), Summary(Status.DONE, 2.0)) == 30.0


@pytest.mark.parametrize(
    ("reference", "one"),
    [
        (None, Summary(Status.DONE, 1.0)),
        (Summary(Status.DONE, 1.0), None),
        (Summary(Status.FAILED), Summary(Status.DONE, 1.0)),
        (Summary(Status.DONE, 1.0), Summary(Status.LIMIT, 60.0)),
        (Summary(Status.DONE, 1.0), Summary(Status.DONE, 0.0)),
    ],
)
def test_no_ratio_without_two_times(reference: Summary | None, one: Summary | None) -> None:
    assert ratio(reference, one) is None


def test_outcomes_survive_the_results_file() -> None:
    outcome = Outcome(Status.FAILED, 1.5, {"speed": 2.0}, "wrong bytes", memory=7, fetched=9)
    assert Outcome.from_json(outcome.as_json()) == outcome
