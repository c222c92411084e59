"""What a mount takes of the machine: how it is counted, and its table."""

from __future__ import annotations

from tests.bench import usage, usage_table
from tests.bench.dataset import CPU
from tests.bench.results import Status, Summary
from tests.bench.workloads import CPU_ORDER, cpu_workloads

SUMMARY = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 75.01    0.000300           3        90         2 read
 24.99    0.000100          10        10           writev
------ ----------- ----------- --------- --------- ----------------
100.00    0.000400           4       100         2 total
"""


def test_the_calls_of_all_kinds_are_counted() -> None:
    assert usage.total(SUMMARY) == 100


def test_usage_is_what_came_to_it() -> None:
    assert usage.Usage(3.0, 70).since(usage.Usage(1.0, 20)).figures() == {"cpu": 2.0, "switches": 50.0}


def test_a_row_has_multiples_of_the_reference_and_counts_for_a_unit() -> None:
    reference = Summary(Status.DONE, 2.0, figures={"cpu": 1.0, "switches": 400.0, "calls": 800.0})
    ours = Summary(Status.DONE, 3.0, figures={"cpu": 1.5, "switches": 300.0})
    line = usage_table.line("reads", 100, {"sshfs": reference, "sftpfs": ours}, ["sftpfs", "sshfs"])
    assert line.split() == ["reads", "3", "(1.50×)", "1.5", "(1.50×)", "3.00", "–", "2", "1", "4.00", "8.00"]
    assert len(line) == len(usage_table.header(["sftpfs", "sshfs"]).splitlines()[1])


def test_a_row_of_who_failed_or_takes_no_part() -> None:
    line = usage_table.line("reads", 1, {"sftpfs": Summary(Status.FAILED)}, ["sftpfs", "sshfs"])
    assert line.split() == ["reads", "failed", "–"]


def test_every_row_is_there() -> None:
    assert [one.name for one in cpu_workloads(CPU)] == CPU_ORDER
    assert all(one.units > 1 for one in cpu_workloads(CPU) if one.name != "ready")
