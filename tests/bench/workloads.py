"""Every workload, in the table's order."""

from __future__ import annotations

from tests.bench import editing, streams, trees
from tests.bench.dataset import Sizes
from tests.bench.steps import Workload

_ORDER = """
read write random find ls-lR du grep cp-out git-status import import-B untar cp-in rm saves sqlite ls-stream
readers small-writes ls-many ls-l-many
"""
ORDER = _ORDER.split()


def all_workloads(sizes: Sizes) -> list[Workload]:
    """What can be measured with ``sizes``."""
    found = [*streams.workloads(sizes), *trees.workloads(sizes), *editing.workloads(sizes)]
    return sorted(found, key=lambda workload: ORDER.index(workload.name))
