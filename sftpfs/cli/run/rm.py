"""``sftpfs rm PATH…``."""

from __future__ import annotations

import os
from argparse import Namespace

from sftpfs.cli.run.rm_targets import MISSING, Batch, RefusedError, Target, locate, mounted_within
from sftpfs.cli.tools.human_format import ProgressLine, plural
from sftpfs.control.client import RequestFailedError, connect
from sftpfs.control.protocol import ControlError, Values
from sftpfs.errors import MountError
from sftpfs.host.daemon import to_stderr
from sftpfs.host.logs import printable

FAILED_STATUS = 1
"""As rm(1)'s."""


def run(given: Namespace) -> int:
    """Returns 0 once the servers have removed everything."""
    removing = Removing(given)
    try:
        for path in given.path:
            removing.add(path)
        removing.finish()
    finally:
        removing.close()
    return FAILED_STATUS if removing.failed else 0


class Removing:
    """One run. Removes a batch as soon as the next path does not fit into it, so that of two paths of which
    one is in the other the first is gone before the second is looked at."""

    def __init__(self, given: Namespace) -> None:
        self.failed = False
        self._given = given
        self._batch = Batch()
        self._line = ProgressLine()
        self._count = 0
        """What earlier batches removed."""

    def add(self, path: str) -> None:
        """``path`` is to be removed."""
        target = self._located(path)
        if target is None:
            return
        if not self._batch.has_room_for(target):
            os.close(target.directory)
            self.finish()
            target = self._located(path)  # it may have gone with the others
        if target is not None:
            self._batch.add(target)

    def _located(self, path: str) -> Target | None:
        try:
            return locate(path, recursive=self._given.recursive, empty_directories=self._given.dir)
        except OSError as problem:
            if not (self._given.force and problem.errno in MISSING):
                self._report(f"cannot remove '{path}': {problem.strerror}")
        except RefusedError as refused:
            self._report(str(refused))
        return None

    def finish(self) -> None:
        """Removes the batch, and begins another."""
        batch, self._batch = self._batch, Batch()
        try:
            if batch.targets:
                self._remove(batch.targets)
        except RequestFailedError as failed:
            for target in batch.targets:
                why = os.strerror(failed.errno) if failed.errno else str(failed)
                self._report(f"cannot remove '{target.given}': {why}")
        except (MountError, ControlError) as problem:
            self._report(f"not known to be removed: {_several(batch.targets)}: {problem}")
        finally:
            self._line.clear()
            batch.close()

    def close(self) -> None:
        """Nothing more is removed."""
        self._line.clear()
        self._batch.close()

    def _remove(self, targets: list[Target]) -> None:
        given = self._given
        result: Values = {}
        with connect(targets[0].mount) as client:
            for result in client.stream(
                "remove",
                targets=[[target.number, target.name] for target in targets],
                recursive=given.recursive,
                empty_directories=given.dir,
                ignore_missing=given.force,
                verbose=given.verbose,
                mounted=mounted_within(targets[0].mount),
            ):
                self._show(targets, result)
        self._count += result["count"]
        if result["failures"]:
            self.failed = True
        if "stopped" in result:
            self._report(
                f"stopped: {result['stopped']}; of {_several(targets)} what was not named is removed or was "
                "not tried"
            )

    def _show(self, targets: list[Target], values: Values) -> None:
        failed, went = values.get("failed", ()), values.get("went", ())
        for number, _, *_ in (*failed, *went):
            if number >= len(targets):
                raise ControlError("an answer about what was not asked for")
        for number, path, directory in went:
            self._line.clear()
            kind = "removed directory" if directory else "removed"
            print(printable(f"{kind} '{_joined(targets[number].given, path)}'"))
        for number, path, _, why in failed:
            self._report(f"cannot remove '{_joined(targets[number].given, path)}': {why}")
        self._line.show(f"{plural(self._count + values['count'], 'name')} removed")

    def _report(self, message: str) -> None:
        self.failed = True
        self._line.clear()
        to_stderr(message)


def _joined(given: str, path: str) -> str:
    return os.path.join(given, path) if path else given


def _several(targets: list[Target]) -> str:
    first = f"'{targets[0].given}'"
    return first if len(targets) == 1 else f"{first} and {plural(len(targets) - 1, 'other path')}"
