"""Learns from a mount how it ended, for callers that unmount it without asking it.

The request must be there before the unmount. The mount answers when everything is on the server or lost, and
then ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from sftpfs.cli.tools.drain_report import print_failures, print_kept, what_waits
from sftpfs.cli.tools.human_format import ProgressLine
from sftpfs.control.client import Client, OverdueError, connect_for_end
from sftpfs.control.protocol import Values
from sftpfs.errors import MountError
from sftpfs.host.daemon import DATA_LOST_STATUS, to_stderr
from sftpfs.host.mountpoint import MountedAt


class MountEndListener:
    """What one mount says when it ends. A mount that cannot be asked (by another user) says nothing.

    INVARIANT: ``_client`` is open as long as an answer may come.
    """

    def __init__(self, mount: MountedAt) -> None:
        """Asks, and waits until the mount knows of it."""
        self._client: Client | None = None
        self.pid: int | None = None
        """The mount's process, if it could be asked."""
        self.goes_on = False
        """Nobody should wait for it: others have a copy of the mount, or it is another user's and takes
        long."""
        self._answers: Iterator[Values] = iter(())
        try:
            self._client = connect_for_end(mount)
            self.pid = self._client.pid or None  # 0: of a PID namespace we do not see
            self._answers = self._client.stream("farewell")
            self._answers = chain([next(self._answers)], self._answers)
        except MountError:
            self.close()

    @property
    def is_coming(self) -> bool:
        """The mount has heard that somebody waits."""
        return self._client is not None

    def wait(self) -> int:
        """Waits for the end; a terminal shows its progress. Returns 0, or DATA_LOST_STATUS after a line for
        each file that is not whole on the server."""
        client = self._client
        if client is None:
            return 0
        line = ProgressLine()
        try:
            for values in self._answers:
                if "failures" in values:
                    line.clear()
                    print_kept(client, values)
                    self.goes_on = bool(values.get("kept"))
                    return print_failures(values)
                if values.get("files"):
                    line.show(what_waits(values))
        except OverdueError as error:
            self.goes_on = True
            to_stderr(f"{error.message}: nobody knows whether everything is on the server")
            return DATA_LOST_STATUS
        except MountError:
            pass  # said below
        finally:
            line.clear()
            self.close()
        to_stderr("the mount ended without saying whether everything is on the server; see its log")
        return DATA_LOST_STATUS

    def close(self) -> None:
        """Ends the listening. Idempotent."""
        if self._client is not None:
            self._client.close()
            self._client = None
