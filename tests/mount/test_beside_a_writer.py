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
