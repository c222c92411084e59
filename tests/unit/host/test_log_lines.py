"""Log lines: one a record, never in the way."""

from __future__ import annotations

import logging
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftpfs.errors import Failure, MountError
from sftpfs.host import logs


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.setblocking(False)
        yield server


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[logs.SyslogHandler]:
    made = logs.SyslogHandler(str(tmp_path / "log"))
    made.setFormatter(logs.LineFormatter("%(message)s", traceback=False))
    yield made
    made.close()


def record(message: str, *arguments: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("sftpfs.x", level, __file__, 1, message, arguments, None)


def test_control_characters_of_a_server_stay_on_the_line() -> None:
    assert logs.printable("a\nb\x1b[31m\tc\udce9 ü") == "a\\nb\\x1b[31m\\tc\\udce9 ü"


def test_syslog_gets_priority_program_and_one_line(
    syslog: socket.socket, handler: logs.SyslogHandler
) -> None:
    handler.emit(record("name %s", "x\ny"))
    text = syslog.recv(1000).decode()
    assert text.startswith("<28>sftpfs[")
    assert text.endswith("]: name x\\ny")


def test_a_full_syslog_does_not_block(syslog: socket.socket, handler: logs.SyslogHandler) -> None:
    for _ in range(3000):
        handler.emit(record("x" * 500))
    received = 0
    try:
        while syslog.recv(1000):
            received += 1
    except BlockingIOError:
        pass
    assert 0 < received < 3000


def test_no_syslog_is_silent(handler: logs.SyslogHandler, capsys: pytest.CaptureFixture[str]) -> None:
    handler.emit(record("x"))
    assert capsys.readouterr() == ("", "")


def test_syslog_that_comes_back_is_found_again(handler: logs.SyslogHandler, tmp_path: Path) -> None:
    for number in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(str(tmp_path / "log"))
            handler.emit(record("line %d", number))
            assert server.recv(1000).endswith(f"line {number}".encode())
        (tmp_path / "log").unlink()


def test_where_a_fault_came_from_is_on_its_line_and_the_traceback_where_asked_for() -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        failed = record("it failed")
        failed.exc_info = sys.exc_info()
    line = logs.LineFormatter("%(message)s", traceback=False).format(failed)
    assert re.fullmatch(r"it failed: ValueError: boom \(in test_log_lines\.py:\d+ [a-z_]+\)", line)
    recent, latest = logs.Recent(), logs.LatestProblem()
    recent.handle(failed)
    latest.handle(failed)
    assert recent.lines[0][2] == latest.text == line, "who asks later can report it, too"
    assert "ValueError: boom" in logs.LineFormatter("%(message)s", traceback=True).format(failed)


def test_a_log_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(MountError) as caught:
        logs.start(str(tmp_path / "no" / "log"), verbose=False, debug=False)
    assert caught.value.failure is Failure.CONFIGURATION
    assert "No such file" in caught.value.message


def test_what_is_over_takes_no_problems_place() -> None:
    """The last problem is one still, however well all goes afterwards."""
    problem = logs.LatestProblem()
    problem.handle(record("data lost"))
    good = record("it is back")
    good.good = True
    problem.handle(good)
    assert problem.text == "data lost"


@pytest.fixture
def as_mounted(tmp_path: Path) -> Iterator[Path]:
    """The log of a mount: the file. Everything is as before afterwards."""
    loggers = [logging.getLogger(name) for name in ("", "sftpfs", *logs.ROOMS_OF_STEPS)]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    raises = logging.raiseExceptions
    path = tmp_path / "mount.log"
    logs.start(str(path), verbose=False, debug=False)
    logs.mounted()
    yield path
    logs.set_level(logs.DEFAULT)
    logging.raiseExceptions = raises
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.mark.parametrize(
    ("level", "logged"),
    [
        ("error", "E"),
        ("warning", "EW"),
        ("info", "EWIS"),
        ("debug", "EWISD"),
        ("default", "EWI"),
    ],
)
def test_the_level_says_what_is_logged_and_seen_by_who_watches(
    as_mounted: Path, level: str, logged: str
) -> None:
    seen: list[str] = []
    logs.set_level("debug")
    logs.set_level(level)
    with logs.watching(lambda at, severity, text: seen.append(text)):
        seen.clear()
        logging.getLogger("sftpfs.mount").error("E")
        logging.getLogger("sftpfs.mount").warning("W")
        logging.getLogger("sftpfs.mount").info("I")
        logging.getLogger(f"{logs.ROOMS_OF_STEPS[0]}.x").info("S")
        logging.getLogger("sftpfs.vfs").debug("D")
    assert "".join(seen) == logged
    assert "".join(line[-1] for line in as_mounted.read_text().splitlines()) == logged
    assert logs.level() == level


def test_the_last_problem_is_remembered_whatever_is_logged(as_mounted: Path) -> None:
    logs.set_level("error")
    logging.getLogger("sftpfs.mount").warning("a problem")
    assert logs.latest_problem.text == "a problem"
    assert as_mounted.read_text() == ""
