"""Where log lines go: stderr, a file, or syslog; never in the way of the mount.

Owns the handlers of the root logger. The composition root starts it; every room
just uses ``logging``. A full disk, a closed terminal or a missing syslog loses
lines and nothing else.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sftpfs.errors import Failure, MountError, traced

SYSLOG = "/dev/log"
FACILITY_DAEMON = 3 << 3
"""syslog(3)'s LOG_DAEMON."""
MAX_DATAGRAM = 8192
"""syslog daemons cut longer lines; rsyslog's default limit."""

ROOMS_OF_STEPS = ("sftpfs.transport", "sftpfs.remote")
"""They log below a warning how a connection is made."""

MOST_RECENT = 50
"""Lines kept for who asks later: where no syslog runs what was logged is nowhere else."""

SEVERITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def printable(text: str) -> str:
    """``text`` on one line and without control characters: parts of it come from servers."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def line_of(record: logging.LogRecord) -> str:
    """What ``record`` says, on one line; of an unforeseen error also where it came from, to be reported."""
    text = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        text += f": {traced(record.exc_info[1])}"
    return printable(text)


class LineFormatter(logging.Formatter):
    """One record, one line; a traceback follows only where ``traceback`` is set (``-d``)."""

    def __init__(self, layout: str, traceback: bool) -> None:
        super().__init__(layout)
        self._traceback = traceback

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        record.message = line_of(record)
        if self.usesTime():
            record.asctime = self.formatTime(record)
        line = self.formatMessage(record)
        if record.exc_info and self._traceback:
            line += "\n" + self.formatException(record.exc_info)
        return line


class SyslogHandler(logging.Handler):
    """Sends to the local syslog without ever waiting for it.

    ``logging.handlers.SysLogHandler`` blocks while the daemon's queue is full, which
    would freeze the mount.
    """

    def __init__(self, path: str = SYSLOG) -> None:
        super().__init__()
        self._path = path
        self._socket: socket.socket | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record, or drop it."""
        severity = next((code for level, code in SEVERITIES if record.levelno >= level), 7)
        line = f"<{FACILITY_DAEMON | severity}>sftpfs[{os.getpid()}]: {self.format(record)}"
        data = line.encode(errors="backslashreplace")[:MAX_DATAGRAM]
        for _ in range(2):  # a restarted syslog needs a new connection
            try:
                self._connected().send(data)
                return
            except BlockingIOError:
                return
            except OSError:
                self._disconnect()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            connection.setblocking(False)
            try:
                connection.connect(self._path)
            except OSError:
                connection.close()
                raise
            self._socket = connection
        return self._socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Close the socket."""
        self._disconnect()
        super().close()


class LatestProblem(logging.Handler):
    """Remembers the last warning or error, for whoever asks how the mount is.

    A record with ``good`` tells that something is over: it is no problem, and displaces none.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.at = 0.0
        """When it was logged, seconds since 1970; 0 where there was none."""
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it in place of the one before."""
        if getattr(record, "good", False):
            return
        self.at, self.text = record.created, line_of(record)


latest_problem = LatestProblem()


class Recent(logging.Handler):
    """Keeps the last lines, for whoever asks for the log later."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[tuple[float, str, str]] = deque(maxlen=MOST_RECENT)
        """(seconds since 1970, level, text), the oldest first."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines.append((record.created, record.levelname, line_of(record)))


recent = Recent()


class _Watcher(logging.Handler):
    """Hands every line on."""

    def __init__(self, watcher: Callable[[float, str, str], None]) -> None:
        super().__init__()
        self._watcher = watcher

    def emit(self, record: logging.LogRecord) -> None:
        """Hand it on."""
        self._watcher(record.created, record.levelname, line_of(record))


@contextmanager
def watching(watcher: Callable[[float, str, str], None]) -> Iterator[None]:
    """``watcher`` is called with (seconds since 1970, level, text) of the last lines, and of what is logged
    meanwhile."""
    for line in list(recent.lines):
        watcher(*line)
    handler = _Watcher(watcher)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def start(log_file: str | None, verbose: bool, debug: bool) -> None:
    """Log to ``log_file`` or stderr. Raises MountError(CONFIGURATION) if the file cannot be opened.

    Who mounts is told of warnings until the mount is there, wherever the log goes.
    """
    logging.raiseExceptions = False
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(LineFormatter("sftpfs: %(message)s", debug))
    handlers: list[logging.Handler] = [stderr]
    if log_file is not None:
        stderr.setLevel(logging.WARNING)
        handlers.append(_file_handler(log_file, debug))
    root = logging.getLogger()
    root.handlers[:] = [*handlers, latest_problem, recent]
    root.setLevel(logging.INFO if debug else logging.WARNING)
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    logging.getLogger("sftpfs").setLevel(level)


class _LogFile(logging.FileHandler):
    """A file that is made for its owner alone: it names files of a mount nobody else may enter."""

    def _open(self) -> Any:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=opener)


def _file_handler(path: str, debug: bool) -> logging.Handler:
    try:
        handler = _LogFile(path, errors="backslashreplace")
    except OSError as error:
        raise MountError(
            Failure.CONFIGURATION, f"cannot open the log file {path}: {error.strerror}"
        ) from None
    layout = "%(asctime)s sftpfs[%(process)d] %(levelname)s: %(message)s"
    handler.setFormatter(LineFormatter(layout, debug))
    return handler


def mounted() -> None:
    """Tell more from now on, and only the log: before, a person waits for the one line of a failure.

    Not the steps of every connection, one a second for as long as a server is away: those are for ``-v``.
    """
    if _has_file():
        _leave_stderr()
    logger = logging.getLogger("sftpfs")
    if logger.level <= logging.INFO:
        return
    logger.setLevel(logging.INFO)
    for room in ROOMS_OF_STEPS:
        logging.getLogger(room).setLevel(logging.WARNING)


def leave_terminal(debug: bool) -> None:
    """Move from stderr to syslog; a log file stays."""
    _leave_stderr()
    if _has_file():
        return
    syslog = SyslogHandler()
    syslog.setFormatter(LineFormatter("%(message)s", debug))
    logging.getLogger().addHandler(syslog)


def _has_file() -> bool:
    return any(isinstance(handler, logging.FileHandler) for handler in logging.getLogger().handlers)


def _leave_stderr() -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if type(handler) is not logging.StreamHandler]
