"""Where log lines go: stderr, a file, or syslog. Logging never blocks the mount.

Owns the handlers of the root logger. The composition root starts it; every room just uses ``logging``. A full
disk, a closed terminal or a missing syslog loses lines and nothing else.
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
"""Rooms that log, below a warning, how a connection is made."""

MOST_RECENT = 50
"""Lines kept for whoever asks later. Without syslog nothing else keeps them."""

DEFAULT = "default"

LEVELS = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    DEFAULT: logging.NOTSET,
}
"""The levels that a person may choose while the mount runs. The last is the one chosen when the mount was
made."""

SEVERITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def printable(text: str) -> str:
    """``text`` on one line and without control characters: parts of it come from servers."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def line_of(record: logging.LogRecord) -> str:
    """What ``record`` says, on one line. For an unforeseen error also where it came from, so that it can be
    reported."""
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
    """Remembers the last warning or error, for whoever asks about the mount's state.

    A record with ``good`` says that something is over: it is no problem, and replaces none.
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
    """Calls ``watcher`` with (seconds since 1970, level, text) of the last lines, and of what is logged
    meanwhile."""
    for line in list(recent.lines):
        watcher(*line)
    handler = _Watcher(watcher)
    handler.setLevel(recent.level)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def start(log_file: str | None, verbose: bool, debug: bool) -> None:
    """Logs to ``log_file`` or stderr. Raises MountError(CONFIGURATION) if the file cannot be opened.

    Until the mount is there, the person who mounts sees warnings, wherever the log goes.
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
    """A file that only its owner may read: it names files of a mount that nobody else may enter."""

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
    """From now on logs more, and only to the log: before, a person waits for the one line of a failure.

    It does not log the steps of every connection, one a second for as long as a server is away: those are for
    ``-v``.
    """
    if _has_file():
        _leave_stderr()
    logger = logging.getLogger("sftpfs")
    if logger.level <= logging.INFO:
        return
    logger.setLevel(logging.INFO)
    for room in ROOMS_OF_STEPS:
        logging.getLogger(room).setLevel(logging.WARNING)


class _Chosen:
    """The level chosen while the mount runs, and the levels of loggers as they were before."""

    def __init__(self) -> None:
        self.name = DEFAULT
        self.before: dict[str, int] = {}


_chosen = _Chosen()


def level() -> str:
    """Which of ``LEVELS`` is in force."""
    return _chosen.name


def set_level(name: str) -> None:
    """From now on logs what is of level ``name`` of ``LEVELS`` and worse; ``default`` means what was before.

    Watchers see the same as the log. The last problem is remembered whatever is logged.
    """
    loggers = ("", "sftpfs", *ROOMS_OF_STEPS)
    if _chosen.name == DEFAULT:
        _chosen.before = {each: logging.getLogger(each).level for each in loggers}
    _chosen.name, wanted = name, LEVELS[name]
    for each in loggers:
        levels = {"": logging.INFO if wanted == logging.DEBUG else logging.WARNING}
        chosen = levels.get(each, min(wanted, logging.WARNING))
        logging.getLogger(each).setLevel(_chosen.before[each] if name == DEFAULT else chosen)
    for handler in logging.getLogger().handlers:
        if handler is not latest_problem:
            handler.setLevel(wanted)


def leave_terminal(debug: bool) -> None:
    """Moves from stderr to syslog; a log file stays."""
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
