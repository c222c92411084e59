"""What sftpfs has a command of its own for, in place of the program that a person would run on the mount."""

from __future__ import annotations

from collections.abc import Callable

from tests.bench.steps import Measured, Place, Stopwatch, run_command
from tests.bench.trees import check_tree
from tests.harness.command import COMMAND

NAME = "sftpfs-own"
"""The contestant: a mount by sftpfs, used by its commands."""


def remove(place: Place) -> Measured:
    """``sftpfs rm -rf``."""
    with Stopwatch() as watch:
        run_command([*COMMAND, "rm", "-rf", place.work / "tree"])
    assert not (place.written / "tree").exists(), "the tree is still there"
    assert not (place.work / "tree").exists(), "the tree is still shown"
    return Measured(watch.seconds)


def copy_in(place: Place) -> Measured:
    """``sftpfs cp -r`` to the server, modes and times too."""
    with Stopwatch() as watch:
        run_command([*COMMAND, "cp", "-r", place.data.local / "tree", place.work / "tree"])
    check_tree(place, place.written / "tree", exact=True)
    return Measured(watch.seconds)


WORKLOADS: dict[str, Callable[[Place], Measured]] = {"rm": remove, "cp-in": copy_in}
"""By the workload it takes the place of."""
