"""Real sshds that give little: few descriptors a session, one session a connection, one login at a time."""

from __future__ import annotations

import os
import random
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.delay import DelayProxy
from tests.harness.linked import Linked
from tests.harness.mounts import in_time
from tests.harness.outage import works
from tests.sshd import SFTP_SERVER, Sshd

pytestmark = pytest.mark.limit(120)

FEW = 20
"""Descriptors of an sftp-server, some of them its own."""
MANY = 100
LIMIT = 40.0
MIB = 1 << 20


def content(size: int) -> bytes:
    """Bytes that differ everywhere."""
    return random.Random(size).randbytes(size)


def test_a_hundred_files_open_where_the_server_has_few_handles(
    tmp_path: Path, make_mount: MakeMount, backing: Path
) -> None:
    """All at once, read and written through the kernel, with the right bytes in each."""
    limited = tmp_path / "limited-sftp-server"
    limited.write_text(f"#!/bin/sh\nulimit -n {FEW}\nexec {SFTP_SERVER}\n")
    limited.chmod(0o755)
    for number in range(MANY):
        (backing / f"f{number}").write_bytes(b"%d " % number + content(200_000))
    with Sshd(tmp_path / "own-sshd", subsystem=str(limited)) as server, ExitStack() as stack:
        mount = make_mount("dir_cache=no", server=server, backing=backing)
        files = [
            stack.enter_context(open(mount.path / f"f{number}", "r+b", buffering=0)) for number in range(MANY)
        ]
        for number, file in enumerate(files):
            assert os.pread(file.fileno(), 100_000, 0) == (b"%d " % number + content(200_000))[:100_000]
        for number, file in enumerate(files):
            assert os.pwrite(file.fileno(), b"written %d" % number, 150_000) > 0
        for number, file in enumerate(files):
            whole = bytearray(b"%d " % number + content(200_000))
            whole[150_000 : 150_000 + len(b"written %d" % number)] = b"written %d" % number
            assert os.pread(file.fileno(), 300_000, 0) == whole
            os.fsync(file.fileno())
            assert (backing / f"f{number}").read_bytes() == whole
        created = [
            stack.enter_context(open(mount.path / f"new{number}", "xb", buffering=0))
            for number in range(MANY)
        ]
        for number, file in enumerate(created):
            file.write(b"made here %d" % number)
        assert len(os.listdir(mount.path)) == 2 * MANY
        stack.pop_all().close()
        for number in range(MANY):
            assert (backing / f"new{number}").read_bytes() == b"made here %d" % number
        works(mount)
        mount.close()


def test_one_session_a_connection_and_no_second_login(
    tmp_path: Path, make_mount: MakeMount, backing: Path
) -> None:
    """As where each login takes a one-time code: one session has to do, and is enough after a loss too."""
    data = content(24 * MIB)
    (backing / "big").write_bytes(data)
    with Sshd(tmp_path / "own-sshd", config_extra="MaxSessions 1") as server:
        mount = make_mount("dir_cache=no", server=server, backing=backing)
        mount.expect("connection to the server is lost|connection is back")
        keys = server.authorized_keys.read_text()
        server.authorized_keys.write_text("")
        with open(mount.path / "big", "rb", buffering=0) as file:
            assert in_time(lambda: file.read(4 * MIB), LIMIT)[0] == data[: 4 * MIB]
            for pid in server.session_pids():
                if Path(f"/proc/{pid}/comm").read_text().strip() == "sftp-server":
                    os.kill(pid, signal.SIGKILL)
            rest, _ = in_time(lambda: b"".join(iter(lambda: file.read(MIB), b"")), LIMIT)
            assert rest == data[4 * MIB :]
        (mount.path / "copy").write_bytes(data)
        assert (backing / "copy").read_bytes() == data
        server.authorized_keys.write_text(keys)
        works(mount)
        mount.close()


def test_one_login_at_a_time(tmp_path: Path, make_mount: MakeMount, backing: Path) -> None:
    """Refused connections are tried later, and not in a storm."""
    size = 48
    block = content(MIB)
    with open(backing / "big", "wb") as big:
        for number in range(size):
            big.write(number.to_bytes(8, "big") + block[8:])
    with (
        Sshd(tmp_path / "own-sshd", config_extra="MaxStartups 1") as server,
        DelayProxy(server.port, one_way=0.01) as link,
    ):
        mount = make_mount("max_conns=4", server=Linked(server, link, tmp_path), backing=backing)
        mount.expect("connection to the server is lost|connection is back|cannot be reached")
        with open(mount.path / "big", "rb", buffering=0) as file:
            for number in range(size):
                if number in (10, 30):
                    server.drop_connections()
                got, _ = in_time(lambda: file.read(MIB), LIMIT)
                assert got == number.to_bytes(8, "big") + block[8:], f"wrong bytes in MiB {number}"
        works(mount)
        assert link.connections() <= 30, "a storm of logins"
        mount.close()
