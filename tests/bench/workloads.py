"""Every workload, in the tables' order."""

from __future__ import annotations

from tests.bench import editing, streams, trees
from tests.bench.dataset import Sizes
from tests.bench.steps import Measured, Workload

_ORDER = """
read write random find ls-lR du grep cp-out git-status import import-B untar cp-in rm saves sqlite ls-stream
readers small-writes ls-many ls-l-many
"""
ORDER = _ORDER.split()
READY = "ready"
"""The mount itself: from the start of its program until it answers."""
CPU_ORDER = [
    *("random", "rm", "cp-in", "ls-many", READY, "find", "untar", "grep", "read", "write", "ls-l-many"),
    *("missing", "small-writes", "small-reads", "saves"),
]
"""Rows of ``--cpu``."""


def all_workloads(sizes: Sizes) -> list[Workload]:
    """What can be measured with ``sizes``."""
    found = [*streams.workloads(sizes), *trees.workloads(sizes), *editing.workloads(sizes)]
    return sorted(
        (one for one in found if one.name in ORDER), key=lambda workload: ORDER.index(workload.name)
    )


def cpu_workloads(sizes: Sizes) -> list[Workload]:
    """What ``--cpu`` measures with ``sizes``."""
    found = [*streams.workloads(sizes), *trees.workloads(sizes), *editing.workloads(sizes)]
    found.append(Workload(READY, "mount to ready", lambda place: Measured(0.0)))
    return sorted(
        (one for one in found if one.name in CPU_ORDER), key=lambda workload: CPU_ORDER.index(workload.name)
    )
