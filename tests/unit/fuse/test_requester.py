"""Which system call a thread is in."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from sftpfs.fuse.requester import only_reads
from tests.harness.namespaces import apart
from tests.harness.waiting import eventually

CALLS = [
    ("os.read(0, 1)", True),
    ("os.readv(0, [bytearray(1)])", True),
    ("os.splice(0, 1, 1)", True),
    ("fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)", False),
]
"""One that waits, and whether it reads."""


def asleep(pid: int) -> bool:
    """Whether process ``pid`` waits for something."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("S")


@pytest.mark.parametrize(("call", "reads"), CALLS)
def test_what_a_program_waits_in_is_told(call: str, reads: bool, tmp_path: Path) -> None:
    code = f"import fcntl, os, sys; os.write(1, b'.'); {call}"
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-c", code, lock.name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
            try:
                assert program.stdout is not None and program.stdout.read(1) == b"."
                eventually(lambda: only_reads(program.pid) if reads else asleep(program.pid))
                assert only_reads(program.pid) == reads
            finally:
                program.kill()
        assert not only_reads(program.pid)


def test_another_pid_namespace_s_processes_are_not_taken_for_who_asks() -> None:
    """Its /proc has a number that here is another process: one that reads."""
    look = "import sys; from sftpfs.fuse.requester import only_reads; print(only_reads(int(sys.argv[1])))"
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as reader:
        try:
            eventually(lambda: only_reads(reader.pid))
            command = [*apart(options=("--pid", "--fork")), sys.executable, "-c", look, str(reader.pid)]
            assert subprocess.run(command, check=True, capture_output=True).stdout == b"False\n"
        finally:
            reader.kill()
