"""The benchmark's table and bars."""

from __future__ import annotations

from tests.bench import table
from tests.bench.bars import BARS, Bar
from tests.bench.dataset import FULL
from tests.bench.report import Series
from tests.bench.results import Outcome, Status, Summary
from tests.bench.tools import TOOLS
from tests.bench.workloads import ORDER, all_workloads

REFERENCE = Summary(Status.DONE, 23.5, 23.0, 24.0)


def test_seconds_have_three_digits() -> None:
    assert [table.seconds(value) for value in (0.04512, 1.234, 12.34, 123.4)] == [
        "0.0451",
        "1.23",
        "12.3",
        "123",
    ]


def test_cell_shows_seconds_and_how_many_times_faster() -> None:
    assert table.cell(Summary(Status.DONE, 1.175), REFERENCE, False) == "1.18 (20×)"


def test_cell_of_the_reference_has_no_ratio() -> None:
    assert table.cell(REFERENCE, REFERENCE, True) == "23.5"


def test_cell_without_reference() -> None:
    assert table.cell(Summary(Status.DONE, 2.0), None, False) == "2"


def test_cell_of_a_reference_over_its_limit() -> None:
    over = Summary(Status.LIMIT, 300.0)
    assert table.cell(over, over, True) == "> 300"
    assert table.cell(Summary(Status.DONE, 3.0), over, False) == "3 (> 100×)"


def test_cell_of_the_failed_and_of_those_who_take_no_part() -> None:
    assert table.cell(Summary(Status.FAILED), REFERENCE, False) == "failed"
    assert table.cell(None, REFERENCE, False) == "–"


def test_bar_is_met_at_its_value() -> None:
    assert Bar(1.2).met(Summary(Status.DONE, 1.2))
    assert not Bar(1.2).met(Summary(Status.DONE, 1.21))


def test_bar_wants_every_figure() -> None:
    bar = Bar(1.0, most={"fetched/asked": 2.0}, least={"of alone": 0.8})
    good = {"fetched/asked": 1.5, "of alone": 0.9}
    assert bar.met(Summary(Status.DONE, 0.5, figures=good))
    assert not bar.met(Summary(Status.DONE, 0.5, figures={**good, "fetched/asked": 2.1}))
    assert not bar.met(Summary(Status.DONE, 0.5, figures={**good, "of alone": 0.7}))
    assert not bar.met(Summary(Status.DONE, 0.5))


def test_bar_is_not_met_by_the_failed() -> None:
    assert not Bar(1.0).met(Summary(Status.FAILED))
    assert not Bar(1.0).met(Summary(Status.LIMIT, 0.5))
    assert not Bar(1.0).met(None)


def test_every_bar_and_every_tool_is_for_a_workload() -> None:
    names = [workload.name for workload in all_workloads(FULL)]
    assert names == ORDER
    assert set(BARS) <= set(names)
    assert {name for tool in TOOLS.values() for name in tool} <= set(names)


def series(full: bool = True, round_trip: float = 20.0) -> Series:
    made = Series(round_trip, ["sftpfs", "sshfs", "scp"], full)
    for seconds in (1.0, 1.5, 1.1):
        made.add(
            "read", "read it", "sftpfs", Outcome(Status.DONE, seconds, {"MB/s": 200.0}, memory=260_000_000)
        )
    made.add("read", "read it", "sshfs", Outcome(Status.DONE, 22.0, memory=9_000_000))
    return made


def test_row_tells_ratio_bar_and_spread() -> None:
    line = series().line("read")
    assert " ".join(line.split()) == "read it 1.1 (20×) 22.0 – ≤ 1.2: met | MB/s 200; 1–1.5"


def test_bars_are_for_full_sizes_at_their_round_trip() -> None:
    assert "met" not in series(full=False).line("read")
    assert "met" not in series(round_trip=100.0).line("read")


def test_footer_tells_the_most_memory() -> None:
    footer = " ".join(series().footer().split())
    assert footer == "memory, highest (PSS) 260 MB 9 MB – ≤ 250 MB: NOT MET"


def test_series_survive_the_results_file() -> None:
    one = series()
    assert Series.from_json(one.as_json()).lines() == one.lines()
    assert len(one.lines()) == 3
