"""The command's process and the mount's: fork, wait until ready, exit status.

Owns what happens between them. The child becomes the mount. The parent stays until the child has reported how
it went, and exits with that status. Knows nothing of mounting.

The status pipe carries ``READY``, or ``FAILED`` and one byte of exit status after the child has told a person
why. End of file without either means that the child died silently.
"""

from __future__ import annotations

import logging
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from sftpfs import clock
from sftpfs.errors import Failure, MountError, traced
from sftpfs.host import logs

READY = b"R"
FAILED = b"F"

DATA_LOST_STATUS = 74
"""EX_IOERR of sysexits.h."""
INTERNAL_STATUS = 70
"""EX_SOFTWARE."""
INTERRUPTED_STATUS = 130
"""What a shell makes of SIGINT."""

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end the command before the mount is there."""

STOP_LIMIT = 5.0
"""Seconds the child has to clean up after Ctrl-C before it is killed."""
STEP = 0.02
"""Seconds between two looks whether the child has ended."""

log = logging.getLogger("sftpfs")


SHORTEST_CORE = 1
"""Bytes: fewer than any core dump has, so that none is written. It is also the only limit at which the kernel
does not start a program of core_pattern (fs/coredump.c): with any other limit such a program gets the memory.
"""


def leave_no_core() -> None:
    """Nothing keeps the memory of this process, or of those it starts, when one crashes: it holds secrets.

    This works by the limit and not by PR_SET_DUMPABLE, which would make its entries in /proc root's: a user
    could then not learn in which mount namespace his own mount is.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    limit = SHORTEST_CORE if hard == resource.RLIM_INFINITY or hard > SHORTEST_CORE else hard
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def inherited() -> list[int]:
    """The caller's descriptors that a program is started with, beside the three usual ones.

    Python and libfuse make no inheritable ones except auto_unmount's, so this must be asked before the mount.
    """
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that listed them is closed
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found


def exit_status(failure: Failure) -> int:
    """The command's exit status for ``failure``."""
    return INTERRUPTED_STATUS if failure is Failure.INTERRUPTED else int(failure.value)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group of groups, or the one error."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def guarded(serve: Callable[[], int], report: Callable[[str], None], debug: bool) -> int:
    """Run ``serve`` and turn whatever it raises into one line for ``report`` and an exit status."""
    try:
        return serve()
    except BaseException as error:
        errors = list(leaves(error))
        for leaf in errors:
            if isinstance(leaf, MountError):
                report(leaf.message)
                return exit_status(leaf.failure)
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in errors):
            report("interrupted")
            return INTERRUPTED_STATUS
        report(f"internal error, please report it: {traced(errors[0])}")
        if debug:
            log.debug("internal error", exc_info=error)
        return INTERNAL_STATUS


def to_stderr(message: str) -> None:
    """One line for the person at the terminal."""
    try:
        print(f"sftpfs: {logs.printable(message)}", file=sys.stderr, flush=True)
    except OSError:
        pass  # nobody reads it any more


class Daemon:
    """The child's side. ``ready`` leaves the terminal and lets the parent go.

    INVARIANT: exactly one of READY and FAILED is written, once.
    """

    __slots__ = ("_debug", "_inherited", "_keep_stdio", "_null", "_pipe", "detached")

    def __init__(self, pipe: int, keep_stdio: bool, debug: bool) -> None:
        self._pipe = pipe
        self._keep_stdio = keep_stdio
        self._debug = debug
        self._null = os.open(os.devnull, os.O_RDWR)  # while no mount can be in the way
        self._inherited = inherited()
        self.detached = False

    def ready(self) -> None:
        """Called once the mount is usable."""
        os.setsid()
        os.chdir("/")
        os.umask(0o077)
        logs.leave_terminal(self._debug)
        for fd in (2,) if self._keep_stdio else (0, 1, 2):
            os.dup2(self._null, fd)
        for fd in (
            self._null,
            *self._inherited,
        ):  # a process that waits for the caller's end must not wait for the mount's
            os.close(fd)
        self.detached = True
        self._report(READY)

    def failed(self, status: int) -> None:
        """Called at the end of a child that never became ready."""
        self._report(FAILED + bytes([status & 0xFF]))

    def print_or_log(self, message: str) -> None:
        """Writes one line to the terminal, or to the log once the terminal was left."""
        if self.detached:
            log.critical("%s", message)
        else:
            to_stderr(message)

    def _report(self, data: bytes) -> None:
        try:
            os.write(self._pipe, data)
        except BrokenPipeError:
            pass  # the parent was killed; the mount is there all the same
        os.close(self._pipe)


def run_as_daemon(
    serve: Callable[[Callable[[], None]], int],
    clean_up: Callable[[], None],
    keep_stdio: bool = False,
    debug: bool = False,
) -> int:
    """Fork; the child runs ``serve(ready)``. Returns the exit status in both processes.

    ``clean_up`` is called in the parent when the child died without cleaning up itself.
    ``keep_stdio``: standard input and output carry SFTP and are not touched.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    read_fd, write_fd = os.pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # one that comes now is for the parent to pass on
    pid = os.fork()
    if pid:
        os.close(write_fd)
        return _Parent(pid, read_fd, clean_up).wait(mask)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(read_fd)
    daemon = Daemon(write_fd, keep_stdio, debug)
    status = guarded(lambda: serve(daemon.ready), daemon.print_or_log, debug)
    if not daemon.detached:
        daemon.failed(status)
    return status


class _Stopped(BaseException):
    """A signal came while the parent waited."""


class _Parent:
    """The parent's side."""

    __slots__ = ("_clean_up", "_pid", "_pipe")

    def __init__(self, pid: int, pipe: int, clean_up: Callable[[], None]) -> None:
        self._pid = pid
        self._pipe = pipe
        self._clean_up = clean_up

    def wait(self, mask: set[int]) -> int:
        """Wait for the child's report, with the signals of ``mask`` blocked as before; the exit status."""
        number = 0

        def stop(signal_number: int, _frame: FrameType | None) -> NoReturn:
            nonlocal number
            number = signal_number
            for each in STOPS:
                signal.signal(each, signal.SIG_IGN)
            raise _Stopped

        for each in STOPS:
            signal.signal(each, stop)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            report = os.read(self._pipe, 2)
        except _Stopped:
            return self._stop(number)
        return self._conclude(report)

    def _conclude(self, report: bytes) -> int:
        if report == READY:
            return 0
        if report[:1] == FAILED and len(report) == 2:
            if self._ended_within(STOP_LIMIT) is None:
                self._kill()
            return report[1]
        wait_status = self._ended_within(STOP_LIMIT)
        if wait_status is None:
            wait_status = self._kill()
        self._clean_up()
        code = os.waitstatus_to_exitcode(wait_status)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        to_stderr(f"the mount process {how} before the mount was ready; try again with -d")
        return INTERNAL_STATUS

    def _stop(self, number: int) -> int:
        """After a signal: the child cleans up, or is killed."""
        try:
            os.kill(self._pid, number)
        except ProcessLookupError:
            pass
        if self._ended_within(STOP_LIMIT) is None:
            self._kill()
            self._clean_up()
            to_stderr("interrupted")
        return INTERRUPTED_STATUS

    def _ended_within(self, limit: float) -> int | None:
        """The wait status, or None if the child still runs after ``limit`` seconds."""
        end = clock.awake() + limit
        select.select([self._pipe], [], [], limit)
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return status
            if clock.awake() > end:
                return None
            time.sleep(STEP)

    def _kill(self) -> int:
        os.kill(self._pid, signal.SIGKILL)
        return os.waitpid(self._pid, 0)[1]
