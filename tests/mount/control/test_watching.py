"""Watching a real mount: its log, every operation, ``top`` on a terminal; and ``warm``."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from sftpfs.errors import Failure
from sftpfs.host.daemon import exit_status
from tests.conftest import MakeMount
from tests.harness.command import COMMAND, environment, say
from tests.harness.counting import CountingProxy
from tests.harness.mounts import REPOSITORY, Mount
from tests.harness.waiting import eventually

OLD = 1_600_000_000
"""A modification time so long ago that it tells versions apart."""

LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{6} (?P<what>.*)")


class Following:
    """``sftpfs log`` while it runs."""

    def __init__(self, *words: str | Path, output: Path) -> None:
        self._output = output
        with open(output, "wb") as file:
            self.process = subprocess.Popen(
                [*COMMAND, "log", *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment(),
                cwd=REPOSITORY,
            )

    def lines(self) -> list[str]:
        """What it has shown so far, without the times."""
        found = []
        for line in self._output.read_text().splitlines():
            match = LINE.fullmatch(line)
            assert match, line
            found.append(match["what"])
        return found

    def wait_for(self, pattern: str) -> str:
        """The first line that matches."""
        found: list[str] = []

        def seen() -> bool:
            found[:] = [line for line in self.lines() if re.search(pattern, line)]
            return bool(found)

        eventually(seen, what=pattern)
        return found[0]

    def stop(self) -> int:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@contextmanager
def following(mount: Mount, *words: str) -> Iterator[Following]:
    """The log, from when the mount knows that somebody looks."""
    follower = Following(*words, mount.path, output=mount.path.with_name("followed"))
    try:
        if "--trace" in words:

            def heard() -> bool:
                os.statvfs(mount.path)
                return any(line.startswith("statfs") for line in follower.lines())

            eventually(heard, what="the trace")
        yield follower
    finally:
        follower.process.kill()
        follower.process.wait(20)


# -- log -------------------------------------------------------------------------------------


def test_a_trace_shows_every_operation(make_mount: MakeMount, backing: Path) -> None:
    (backing / "d").mkdir()
    (backing / "d" / "f").write_bytes(b"12345")
    mount = make_mount(backing=backing)
    with following(mount, "--trace") as follower:
        assert (mount.path / "d" / "f").read_bytes() == b"12345"
        follower.wait_for(r"^open +/d/f \(to read\) = ok  ")
        follower.wait_for(r"^read +/d/f \(\d+ bytes at 0\) = 5  [\d.]+ ms$")
        os.rename(mount.path / "d", mount.path / "e\x1b\n")
        follower.wait_for(r"^rename +/d \(to /e\\x1b\\n\) = ok")
        with pytest.raises(FileNotFoundError):
            os.unlink(mount.path / "none")
        follower.wait_for(r"^lookup +/none = ENOENT")
        (mount.path / "new").write_bytes(b"x" * 10)
        follower.wait_for(r"^create +/new \(mode 100644\) = ok")
        follower.wait_for(r"^write +/new \(10 bytes at 0\) = 10")
        os.truncate(mount.path / "new", 3)
        os.chmod(mount.path / "new", 0o600)
        follower.wait_for(r"^setattr +/new \(size 3\) = ok")
        follower.wait_for(r"^setattr +/new \(mode 600\) = ok")
        assert follower.stop() == 0
    assert (mount.path / "new").read_bytes() == b"xxx"  # and nobody looks any more


def test_the_log_is_followed(make_mount: MakeMount, counting_proxy: CountingProxy) -> None:
    mount = make_mount(port=counting_proxy.port)
    mount.expect("the connection to the server is lost|the connection is back")
    with following(mount) as follower:
        # Cut again and again: whether it listens already cannot be seen from outside.
        def told() -> bool:
            counting_proxy.cut()
            os.statvfs(mount.path)
            return any(line.startswith("WARNING: the connection is back") for line in follower.lines())

        eventually(told, what="the loss in the log")
        assert not any(line.startswith("statfs") for line in follower.lines())


def test_the_log_has_a_past(make_mount: MakeMount, counting_proxy: CountingProxy) -> None:
    mount = make_mount(port=counting_proxy.port)
    mount.expect("the connection to the server is lost|the connection is back")
    counting_proxy.cut()
    eventually(lambda: "made again" in say("status", mount.path).stdout, what="the connection made again")
    with following(mount) as follower:
        follower.wait_for("^WARNING: the connection to the server is lost")
        follower.wait_for("^WARNING: the connection is back")
        # One line of the loss, one of the return: the steps of a login are for -v.
        assert not [line for line in follower.lines() if "connecting to" in line or "logged in" in line]


def test_watching_ends_with_the_mount(make_mount: MakeMount) -> None:
    mount = make_mount()
    with following(mount, "--trace") as follower:
        assert say("umount", mount.path).status == 0
        assert follower.process.wait(20) == exit_status(Failure.COMMAND)
        assert mount.process.wait(20) == 0


# -- top -------------------------------------------------------------------------------------


@contextmanager
def screen(*words: str | Path, columns: int, lines: int, directory: Path) -> Iterator[Screen]:
    """The command in a tmux of its own."""
    yield_to = Screen(directory / "tmux")
    yield_to.start(*words, columns=columns, lines=lines)
    try:
        yield yield_to
    finally:
        yield_to.tmux("kill-server")


class Screen:
    """A terminal that can be looked at and typed on."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def tmux(self, *words: str) -> str:
        """One command of tmux's."""
        done = subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *words],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env=environment(LC_ALL="C.UTF-8", TERM="xterm", COLUMNS="70", LINES="20"),  # not to be believed
            cwd=REPOSITORY,
        )
        return done.stdout

    def start(self, *words: str | Path, columns: int, lines: int) -> None:
        """Run the command; when it ends the screen tells its status."""
        size = ["-x", str(columns), "-y", str(lines)]
        command = shlex.join([*COMMAND, *map(str, words)])
        self.tmux("new-session", "-d", *size, "sh", "-c", f"{command}; echo ended with $?; sleep 60")

    def resize(self, columns: int, lines: int) -> None:
        """Another size, as a person drags a window."""
        self.tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def type(self, text: str) -> None:
        """Press keys."""
        self.tmux("send-keys", text)

    def shown(self) -> list[str]:
        """The lines on it."""
        return self.tmux("capture-pane", "-p").splitlines()


DRAWING = 30.0
"""Seconds until the screen is drawn anew: tmux and two programs take their turns on a busy machine."""


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 50)])
def test_top_fits_the_screen(make_mount: MakeMount, columns: int, lines: int, tmp_path: Path) -> None:
    mount = make_mount()
    with screen("top", mount.path, "-i", "0.2", columns=columns, lines=lines, directory=tmp_path) as terminal:

        def at_work() -> bool:
            (mount.path / "f").write_bytes(os.urandom(100_000))
            os.unlink(mount.path / "f")
            shown = terminal.shown()
            return any(re.match(r"write +\d", line) for line in shown) and any(
                "  create " in line for line in shown
            )

        eventually(at_work, what="the work on the screen")
        check_screen(
            eventually(partial(drawn, terminal, columns, lines), DRAWING, "the screen"), columns, lines
        )
        terminal.resize(60, 20)
        drawn(terminal, 60, 20)
        eventually(at_work, what="names that are whole on a narrow screen")
        for smaller in ((columns + 20, lines + 6), (40, 10)):
            terminal.resize(*smaller)
            drawn(terminal, *smaller)
        terminal.type("q")
        eventually(lambda: "ended with 0" in terminal.shown(), what="the end")
        assert not any(line.startswith("server ") for line in terminal.shown()), "the screen was left"


def check_screen(shown: list[str], columns: int, lines: int) -> None:
    """Everything is there once, in its place, and nothing is cut."""
    assert len(shown) == lines
    assert all(len(line) <= columns for line in shown)
    assert shown[-1] == "q quits"
    assert re.fullmatch(r"server     \d of 4 connections, \d+ unanswered, round trip [\d.]+ ms", shown[1])
    assert not any(line.endswith("…") for line in shown[1:8])
    for start in ("received ", "sent ", "cache ", "written ", "ahead ", "to server ", "slowest of"):
        assert sum(line.startswith(start) for line in shown) == 1, start


def drawn(terminal: Screen, columns: int, lines: int) -> list[str]:
    """The screen once it is drawn for its size."""

    def look() -> list[str]:
        nonlocal shown
        shown = terminal.shown()
        whole = len(shown) == lines and shown[-1] == "q quits" and shown[1].startswith("server ")
        return shown if whole else []

    shown: list[str] = []
    try:
        return eventually(look, DRAWING)
    except AssertionError:
        raise AssertionError(f"not drawn at {columns}x{lines}:\n" + "\n".join(shown)) from None


def test_top_shows_what_waits(make_mount: MakeMount, counting_proxy: CountingProxy, tmp_path: Path) -> None:
    mount = make_mount("dir_cache=no", port=counting_proxy.port)
    with screen("top", mount.path, "-i", "0.2", columns=100, lines=30, directory=tmp_path) as terminal:
        eventually(lambda: any("slowest" in line for line in terminal.shown()), what="the screen")
        counting_proxy.pause()
        with subprocess.Popen(["stat", mount.path / "missing"], stderr=subprocess.DEVNULL) as program:
            eventually(
                lambda: any(re.search(r"lookup +/missing  waits$", line) for line in terminal.shown()),
                what="the waiting request",
            )
            counting_proxy.resume()
            assert program.wait(20) == 1


def test_top_without_a_terminal_shows_once(make_mount: MakeMount) -> None:
    mount = make_mount()
    found = say("top", "-i", "0.1", mount.path)
    assert found.status == 0, found.stderr
    assert str(mount.path)[-20:] in found.stdout.splitlines()[0]
    assert "all is on the server" in found.stdout
    assert "\x1b" not in found.stdout


# -- warm ------------------------------------------------------------------------------------


def test_what_was_warmed_is_not_asked_for_again(
    make_mount: MakeMount, backing: Path, counting_proxy: CountingProxy
) -> None:
    for directory in ("a", "a/b"):
        (backing / directory).mkdir()
        for number in range(5):
            path = backing / directory / f"f{number}"
            path.write_bytes(os.urandom(10_000 + number))
            os.utime(path, (OLD, OLD))
    (backing / "a" / "b" / "link").symlink_to("/")
    (backing / "a" / "big").write_bytes(b"x" * (3 << 20))
    os.utime(backing / "a" / "big", (OLD, OLD))
    mount = make_mount(backing=backing, port=counting_proxy.port)
    found = say("warm", mount.path / "a")
    assert found.status == 0, found.stderr
    assert found.stdout.startswith("11 files and 3.10 MiB in 2 directories fetched in ")
    counting_proxy.reset()
    for directory, _, files in os.walk(mount.path / "a"):
        for name in files:
            path = Path(directory, name)
            if not path.is_symlink():
                assert path.read_bytes() == (backing / path.relative_to(mount.path)).read_bytes()
    count = counting_proxy.read()
    assert not {"read", "readdir", "opendir"} & count.requests.keys(), count


def test_warm_tells_what_could_not_be_read(make_mount: MakeMount, backing: Path, tmp_path: Path) -> None:
    (backing / "good").write_text("x")
    mount = make_mount(backing=backing)
    assert os.listdir(mount.path) == ["good"]
    found = say("warm", mount.path / "good", mount.path / "none")
    assert found.status == exit_status(Failure.COMMAND)
    assert f"not fetched: {mount.path / 'none'}: No such file or directory" in found.stderr
    assert found.stdout.startswith("1 file and 1 B ")
    assert "no sftpfs is mounted at" in say("warm", tmp_path).stderr
