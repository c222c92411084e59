"""The simulated server beside the real sftp-server: the same requests give the same replies.

Apart from times, owners, sizes of directories and the order of names, which are the file system's.
"""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.simulation.disk import Disk
from tests.simulation.packets import KINDS, Fields, string
from tests.simulation.server_extensions import ServerSession

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
CODES = {name: number for number, name in KINDS.items()}
NAMES = (b"a", b"b", b"d", b"d/a", b"d/e", b"d/e/f", b"missing/x", b"a/x", b"n" * 300, b"l")
FLAGS = (1, 2, 3, 0xB, 0x1A, 0x2A, 0xE, 0x1B)
SEEDS = range(12)
REQUESTS = 250


class Real:
    """A real sftp-server on pipes."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [SFTP_SERVER, "-u", "0022"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def handle(self, packet: bytes) -> bytes:
        """One request, and its framed reply."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(struct.pack(">I", len(packet)) + packet)
        self.process.stdin.flush()
        head = self.process.stdout.read(4)
        return head + self.process.stdout.read(struct.unpack(">I", head)[0])


@contextmanager
def real_server() -> Iterator[Real]:
    """One, ended afterwards."""
    server = Real()
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait(10)
        for pipe in (server.process.stdin, server.process.stdout):
            assert pipe is not None
            pipe.close()


def request(rng: random.Random, root: bytes, identifier: int, handles: list[bytes]) -> bytes:
    """A random request about the few names below ``root`` and the handles there are."""

    def path() -> bytes:
        return string(root + b"/" + rng.choice(NAMES))

    def handle() -> bytes:
        return string(
            rng.choice(handles) if handles and rng.random() < 0.9 else rng.choice((b"\0\0\0\x63", b"xx"))
        )

    def attrs() -> bytes:
        flags, fields = 0, b""
        if rng.random() < 0.4:
            flags, fields = flags | 1, fields + struct.pack(">Q", rng.choice((0, 5, 3000)))
        if rng.random() < 0.5:
            flags, fields = flags | 4, fields + struct.pack(">I", rng.choice((0o700, 0o755, 0o777)))
        if rng.random() < 0.4:
            flags, fields = flags | 8, fields + struct.pack(">II", 1_600_000_000, 1_650_000_000)
        return struct.pack(">I", flags) + fields

    kind = rng.choice(
        [
            "open",
            "open",
            "open",
            "close",
            "read",
            "read",
            "write",
            "write",
            "lstat",
            "stat",
            "fstat",
            "setstat",
            "fsetstat",
            "opendir",
            "opendir",
            "readdir",
            "readdir",
            "remove",
            "mkdir",
            "mkdir",
            "rmdir",
            "realpath",
            "rename",
            "readlink",
            "symlink",
            "posix-rename",
            "hardlink",
            "fsync",
            "lsetstat",
            "limits",
            "copy-data",
            "unknown",
        ]
    )
    body = {
        "open": lambda: path() + struct.pack(">I", rng.choice(FLAGS)) + struct.pack(">I", 0),
        "close": handle,
        "read": lambda: handle() + struct.pack(">QI", rng.choice((0, 3, 9999)), rng.choice((0, 4, 70_000))),
        "write": lambda: handle() + struct.pack(">Q", rng.choice((0, 2, 50))) + string(rng.randbytes(9)),
        "fstat": handle,
        "setstat": lambda: path() + attrs(),
        "fsetstat": lambda: handle() + attrs(),
        "lsetstat": lambda: path() + attrs(),
        "readdir": handle,
        "mkdir": lambda: path() + struct.pack(">II", 4, rng.choice((0o755, 0o700))),
        "symlink": lambda: string(rng.choice((b"a", b"nowhere", b"d"))) + path(),
        "rename": lambda: path() + path(),
        "posix-rename": lambda: path() + path(),
        "hardlink": lambda: path() + path(),
        "fsync": handle,
        "limits": lambda: b"",
        "copy-data": lambda: handle() + struct.pack(">QQ", 0, 0) + handle() + struct.pack(">Q", 0),
    }.get(kind, path)()
    if kind in CODES:
        return struct.pack(">BI", CODES[kind], identifier) + body
    name = kind.encode() + (b"@openssh.com" if kind not in ("copy-data", "unknown") else b"")
    return struct.pack(">BI", 200, identifier) + string(name) + body


def comparable(reply: bytes) -> object:
    """What both servers have to agree on."""
    kind, identifier = reply[4], struct.unpack_from(">I", reply, 5)[0]
    fields = Fields(reply, 9)
    match kind:
        case 101:
            return "status", identifier, fields.u32(), fields.string()
        case 105:
            return "attrs", identifier, shown(fields.attrs())
        case 104:
            names = []
            for _ in range(fields.u32()):
                name, line, attrs = fields.string(), fields.string(), fields.attrs()
                if name in (b".", b".."):
                    attrs, line = {}, b""
                names.append((name, line.split()[:2] if attrs else [], shown(attrs)))
            return "names", identifier, sorted(names, key=lambda one: one[0])
        case 201:
            return "extended", identifier, reply[9:25]
    return kind, identifier, reply[9:]


def shown(attrs: dict[str, object]) -> dict[str, object]:
    """Attributes without what is the file system's own."""
    mode = attrs.get("mode", 0)
    assert isinstance(mode, int)
    kept = {"mode": mode}
    if mode & 0o170000 == 0o100000:
        kept["size"] = attrs["size"]
    return kept


@pytest.mark.parametrize("seed", SEEDS)
def test_the_simulated_server_answers_as_the_real_one(seed: int, tmp_path: Path) -> None:
    """A random sequence of requests, reply by reply."""
    rng = random.Random(seed)
    root = bytes(tmp_path / "served")
    disk = Disk(lambda: 0.0, lambda: 1_700_000_000.0)
    for index in range(1, len(root.split(b"/"))):
        disk.mkdir(b"/".join(root.split(b"/")[: index + 1]), 0o755)
    (tmp_path / "served").mkdir()
    simulated = ServerSession(disk, "test")
    handles: list[bytes] = []
    begun: set[bytes] = set()
    with real_server() as real:
        for server in (real, simulated):
            server.handle(struct.pack(">BI", 1, 3))
        for identifier in range(REQUESTS):
            packet = request(rng, root, identifier, handles)
            wanted, got = real.handle(packet), simulated.handle(packet)
            if packet[0] == CODES["readdir"]:
                # What it makes of changes since the first is the file system's.
                if packet[5:] in begun:
                    continue
                begun.add(packet[5:])
            assert comparable(got) == comparable(wanted), (identifier, simulated.kind_of(packet), packet)
            if wanted[4] == 102:
                handles.append(Fields(wanted, 9).string())
                begun.discard(wanted[9:])
            elif packet[0] == CODES["close"] and Fields(wanted, 9).u32() == 0:
                handles.remove(Fields(packet, 5).string())
