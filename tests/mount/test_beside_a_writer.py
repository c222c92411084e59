"""What others do to a file that a program here never stops writing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.command import say
from tests.harness.counting import CountingProxy

WRITER = """
import os, select, sys
fd = os.open(sys.argv[1], os.O_WRONLY | int(sys.argv[2]))
while not select.select([0], [], [], 0.005)[0]:
    os.write(fd, b"x" * 80)
    print("written", flush=True)
"""
"""Writes more often than the server answers, until its standard input ends."""


@contextmanager
def writing(path: Path, flags: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(flags)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdin is not None and program.stdout is not None
        for _ in range(20):
            assert program.stdout.readline() == b"written\n"
        os.set_blocking(program.stdout.fileno(), False)
        try:
            yield program
        finally:
            program.stdin.close()
            while program.poll() is None:
                program.stdout.read()
    assert program.returncode == 0


@pytest.mark.parametrize("flags", [os.O_APPEND, 0], ids=["append", "write"])
def test_truncation_and_copy_end_before_the_writer(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path, tmp_path: Path, flags: int
) -> None:
    (backing / "log").write_bytes(b"line\n" * 1000)
    mount = make_mount(backing=backing, port=counting_proxy.port)
    with writing(mount.path / "log", flags) as program:
        os.close(os.open(mount.path / "log", os.O_WRONLY | os.O_TRUNC))
        for copy in (mount.path / "copy", tmp_path / "copy"):
            found = say("cp", mount.path / "log", copy)
            changed = "changed while it was copied" in found.stderr
            assert (found.status, changed) in ((0, False), (1, True)), found
        assert program.poll() is None
    assert (mount.path / "log").read_bytes() == (backing / "log").read_bytes()
    assert b"line" not in (backing / "log").read_bytes()
    assert (mount.path / "copy").read_bytes() == (backing / "copy").read_bytes()


WITHOUT_A_PAUSE = {
    "write": "f = os.open(path, os.O_WRONLY)\nwhile on(): os.pwrite(f, b'x' * 80, 0)",
    "append": "f = os.open(path, os.O_WRONLY | os.O_APPEND)\nwhile on(): os.write(f, b'x' * 80)",
    "save": "while on(): open(path, 'wb').write(b'x' * 80)",
    "truncate": "while on(): os.truncate(path, 40); os.truncate(path, 60)",
    "touch": "while on(): os.utime(path, (5, 5))",
}

CHANGER = """
import os, select, sys
path = sys.argv[1]
def on():
    print("on", flush=True)
    return not select.select([0], [], [], 0.001)[0]
"""


@contextmanager
def changing(path: Path, how: str) -> Iterator[None]:
    """Two programs that go on until the block ends."""
    command = [sys.executable, "-c", CHANGER + WITHOUT_A_PAUSE[how], str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        programs = (one, other)
        for program in programs:
            for _ in range(3):
                assert program.stdout.readline() == b"on\n"
            os.set_blocking(program.stdout.fileno(), False)
        try:
            yield
        finally:
            for program in programs:
                program.stdin.close()
            while any(program.poll() is None for program in programs):
                for program in programs:
                    program.stdout.read()
    assert [program.returncode for program in programs] == [0, 0]


@pytest.mark.parametrize("how", WITHOUT_A_PAUSE)
def test_another_name_of_a_file_that_is_changed_without_a_pause_is_opened(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path, how: str
) -> None:
    """All names are looked at as one is opened, which takes longer than no change comes. Not read to its end:
    there may be none, for what is appended meanwhile."""
    mount = make_mount(backing=backing, port=counting_proxy.port)
    first, second = mount.path / "first", mount.path / "second"
    first.write_bytes(b"x" * 80)
    os.link(first, second)
    with changing(first, how):
        for _ in range(3):
            for name in (first, second):
                with name.open("rb", buffering=0) as file:
                    assert set(file.read(200)) <= set(b"x\0")
        assert os.stat(first).st_ino == os.stat(second).st_ino
        (backing / "new").write_bytes(b"another file, and longer")
        (backing / "new").rename(backing / "second")
        assert second.read_bytes() == b"another file, and longer"
    assert set((backing / "first").read_bytes()) <= set(b"x\0")
    assert second.read_bytes() == (backing / "second").read_bytes() == b"another file, and longer"
