"""The process behind ForeignServer: TCP in front, a real sftp-server per connection behind.

Each session announces what servers of other makers do, and carries requests out one after the other. A
``Respect`` sees each request before the server does and may answer it, or alter it and the reply.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
from contextlib import suppress
from typing import Any, NamedTuple, cast

from tests.harness import sftp_wire as wire
from tests.harness.sftp_frames import Framer, Packet

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
READ_SIZE = 1 << 18

FOLLOWS_WITHIN = 0.5
"""Seconds in which what was sent with a request is here; who waits for the answer waits as long."""

ANNOUNCED = wire.version(3, (b"posix-rename@openssh.com", b"1"), (b"hardlink@openssh.com", b"1"))
"""Neither OpenSSH's nor any one's: nothing is known of such a server."""

OPEN, STAT, HANDLE, NAME, ATTRS, EXTENDED = 3, 17, 102, 104, 105, 200
BY_HANDLE = frozenset({"CLOSE", "READ", "WRITE", "FSTAT", "FSETSTAT", "READDIR"})
READ_FLAG, WRITE_FLAG, APPEND_FLAG, CREATE_FLAG, TRUNCATE_FLAG, EXCLUSIVE_FLAG = 1, 2, 4, 8, 16, 32
END_OF_FILE, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, UNSUPPORTED = 1, 2, 3, 4, 8
FILE_ALREADY_EXISTS = 11
"""Of version 6 (draft-ietf-secsh-filexfer-13)."""


class Asked(NamedTuple):
    """A request: by path or by handle (``what``), an OPEN with its flags and encoded attributes."""

    packet: Packet
    name: str
    what: bytes
    flags: int = 0
    attributes: bytes = b""

    def refused(self, status: int, words: bytes = b"") -> Answer:
        """The request's answer: a STATUS."""
        return Answer(wire.status(self.packet.identifier, status, words))

    def with_body(self, body: bytes) -> bytes:
        """This request with other arguments."""
        return wire.packet(self.packet.kind, self.packet.identifier, body)

    def opened_as(self, path: bytes, flags: int, attributes: bytes | None = None) -> bytes:
        """This OPEN with other flags and attributes."""
        told = self.attributes if attributes is None else attributes
        body = wire.string(path) + struct.pack(">I", flags) + told
        return wire.packet(OPEN, self.packet.identifier, body)


class Answer(NamedTuple):
    """What the client gets at once; the server hears nothing."""

    raw: bytes


class Open(NamedTuple):
    """What a handle was given for."""

    path: bytes
    flags: int


class Session:
    """What one connection has open; respects may keep notes here."""

    def __init__(self) -> None:
        self.handles: dict[bytes, Open] = {}
        self.written: set[bytes] = set()
        self.notes: dict[bytes, Any] = {}


class Respect:
    """One in which a server differs: this one in none."""

    announced = ANNOUNCED
    last, first = "", ""
    """What is there of the ``first`` kind as one of the ``last`` kind is to be carried out goes before that;
    answers come in order."""

    def request(self, _session: Session, _asked: Asked) -> bytes | Answer | None:
        """What the server gets in place of the request; None: the request itself."""
        return None

    def reply(self, _session: Session, _asked: Asked, _reply: Packet) -> bytes | None:
        """What the client gets in place of the reply; None: the reply itself."""
        return None


class LooksBeforeItWrites(Respect):
    """Says that it is OpenSSH's, and carries requests out in another order than they came in."""

    announced = wire.version(3, (b"limits@openssh.com", b"1"), (b"posix-rename@openssh.com", b"1"))
    last, first = "WRITE", "FSTAT"


class EndsBeforeItSets(Respect):
    """What was sent behind an FSETSTAT is carried out before it."""

    def __init__(self, first: str, last: str = "FSETSTAT") -> None:
        self.last, self.first = last, first


class OpensWhatIsToBeNew(Respect):
    """EXCL is not honoured, and what is there is emptied."""

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.flags & EXCLUSIVE_FLAG:
            return asked.opened_as(asked.what, asked.flags & ~EXCLUSIVE_FLAG | TRUNCATE_FLAG)
        return None


class Refuses(Respect):
    """OPEN with all of some flags is refused."""

    def __init__(self, flags: int, status: int) -> None:
        self.flags = flags
        self.status = status

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        refused = asked.name == "OPEN" and asked.flags & self.flags == self.flags
        return asked.refused(self.status) if refused else None


class RefusesAppends(Respect):
    """As ProFTPD: OPEN with APPEND is refused, but for a new file."""

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        refused = asked.flags & (APPEND_FLAG | EXCLUSIVE_FLAG) == APPEND_FLAG
        return asked.refused(PERMISSION_DENIED) if refused else None


class EmptiesWhatItOpens(Respect):
    """OPEN to write empties."""

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.flags & (WRITE_FLAG | EXCLUSIVE_FLAG) == WRITE_FLAG:
            return asked.opened_as(asked.what, asked.flags | TRUNCATE_FLAG)
        return None


class EmptiesWhatItOpensToWriteAlone(Respect):
    """As Erlang's file:open: OPEN to write, and not to read, empties."""

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.flags & (READ_FLAG | WRITE_FLAG | EXCLUSIVE_FLAG | APPEND_FLAG) == WRITE_FLAG:
            return asked.opened_as(asked.what, asked.flags | TRUNCATE_FLAG)
        return None


class HandlesGoByNames(Respect):
    """FSTAT tells of what has the name, and what has none is not read."""

    def request(self, session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.name not in ("FSTAT", "READ") or asked.what not in session.handles:
            return None
        path = session.handles[asked.what].path
        if asked.name == "READ":
            return None if os.path.exists(path) else asked.refused(NO_SUCH_FILE)
        return wire.packet(STAT, asked.packet.identifier, wire.string(path))


class RefusesTildes(Respect):
    """Of a name that it does not take it says that there is no such file."""

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        return asked.refused(NO_SUCH_FILE) if b"~" in asked.what else None


class FollowsLinks(Respect):
    """As ProFTPD: LSTAT is STAT, and READLINK tells where a relative target comes to."""

    def reply(self, _session: Session, asked: Asked, reply: Packet) -> bytes | None:
        if asked.name != "READLINK" or reply.kind != NAME:
            return None
        fields = wire.asked(reply.raw).fields
        fields.uint32()
        told = os.path.join(os.path.dirname(asked.what), fields.string())
        return wire.packet(NAME, asked.packet.identifier, wire.names((told, told, wire.attrs())))

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.name == "LSTAT":
            return wire.packet(STAT, asked.packet.identifier, wire.string(asked.what))
        return None


class TellsDirectoriesWithASlash(Respect):
    """As MySecureShell: REALPATH of a directory ends with a slash."""

    def reply(self, _session: Session, asked: Asked, reply: Packet) -> bytes | None:
        if asked.name != "REALPATH" or reply.kind != NAME:
            return None
        fields = wire.asked(reply.raw).fields
        fields.uint32()
        path = fields.string()
        name = path + b"/" if os.path.isdir(path) else path
        return wire.packet(NAME, asked.packet.identifier, wire.names((name, name, wire.attrs())))


class TellsNoOwners(Respect):
    """Attributes have no uid and gid."""

    def reply(self, _session: Session, asked: Asked, reply: Packet) -> bytes | None:
        if reply.kind != ATTRS:
            return None
        told = cast(dict[str, Any], wire.asked(reply.raw).fields.attrs())
        told.pop("ids", None)
        return wire.packet(ATTRS, asked.packet.identifier, wire.attrs(**told))


class LosesAsItCloses(Respect):
    """A new file is gone once it is closed, and nothing is said of that."""

    def reply(self, session: Session, asked: Asked, _reply: Packet) -> bytes | None:
        if asked.name == "CLOSE" and session.handles[asked.what].flags & CREATE_FLAG:
            os.unlink(session.handles[asked.what].path)
        return None


class DatesAsItCloses(Respect):
    """A file that was written has the time of its CLOSE: a gateway's upload."""

    def reply(self, session: Session, asked: Asked, _reply: Packet) -> bytes | None:
        if asked.name == "CLOSE" and asked.what in session.written:
            os.utime(session.handles[asked.what].path)
        return None


class EndsWhereTheFileDid(Respect):
    """As ProFTPD: READ from behind the end that the file had as the handle was made is at its end."""

    def reply(self, session: Session, asked: Asked, reply: Packet) -> bytes | None:
        if reply.kind == HANDLE:
            made = wire.asked(reply.raw).fields.string()
            session.notes[made] = os.path.getsize(asked.what) if os.path.isfile(asked.what) else 0
        if asked.name != "READ":
            return None
        fields = wire.asked(asked.packet.raw).fields
        end = session.notes[fields.string()]
        return asked.refused(END_OF_FILE).raw if fields.uint64() > end else None


class DecodesNames(Respect):
    """As Node's ssh2: names are text, with U+FFFD for what is no UTF-8."""

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.name in BY_HANDLE or asked.what.startswith(b"\0"):
            return None
        fields = wire.asked(asked.packet.raw).fields
        name = fields.string().decode(errors="replace").encode()
        return asked.with_body(wire.string(name) + fields.rest)


class StopsTheClock(Respect):
    """Every time that is told is the same one."""

    def __init__(self, time: int) -> None:
        self.time = time

    def reply(self, _session: Session, asked: Asked, reply: Packet) -> bytes | None:
        fields = wire.asked(reply.raw).fields
        if reply.kind == ATTRS:
            return wire.packet(ATTRS, asked.packet.identifier, self.stopped(fields))
        if asked.name != "READDIR" or reply.kind != NAME:
            return None
        names = [(fields.string(), fields.string(), self.stopped(fields)) for _ in range(fields.uint32())]
        return wire.packet(NAME, asked.packet.identifier, wire.names(*names))

    def stopped(self, fields: wire.Fields) -> bytes:
        """Attributes with our time."""
        told = cast(dict[str, Any], fields.attrs())
        told["times"] = (self.time, self.time)
        return wire.attrs(**told)


class EmptiesAsItCloses(Respect):
    """What was there of a file that was opened to write is gone once it is closed, as rclone has it."""

    def reply(self, session: Session, asked: Asked, _reply: Packet) -> bytes | None:
        if asked.name == "CLOSE" and asked.what in session.handles:
            made = session.handles[asked.what]
            if made.flags & (WRITE_FLAG | EXCLUSIVE_FLAG | TRUNCATE_FLAG) == WRITE_FLAG:
                os.truncate(made.path, 1)
        return None


class WritesInOrder(EmptiesAsItCloses):
    """As rclone without a cache: it takes whole files, and a WRITE that follows the one before."""

    def request(self, session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.name != "WRITE":
            return None
        fields = wire.asked(asked.packet.raw).fields
        handle, offset, data = fields.string(), fields.uint64(), fields.string()
        if offset != session.notes.get(handle, 0):
            return asked.refused(FAILURE, b"Illegal seek")
        session.notes[handle] = offset + len(data)
        return None

    def reply(self, session: Session, asked: Asked, reply: Packet) -> bytes | None:
        if asked.name == "CLOSE":
            session.notes.pop(asked.what, None)
        return super().reply(session, asked, reply)


class RefusesModes(Respect):
    """OPEN with permissions is refused."""

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        return asked.refused(FAILURE) if asked.attributes[:4] not in (b"", bytes(4)) else None


class RefusesKinds(Respect):
    """Requests of some kinds are refused."""

    def __init__(self, status: int, *names: str) -> None:
        self.status = status
        self.names = names

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        return asked.refused(self.status, b"not here") if asked.name in self.names else None


class RenameReplaces(Respect):
    """RENAME is rename(2), as Go's os.Rename has it where ``keeps_directories``, which ``says`` why."""

    def __init__(
        self, *, announces: bool, keeps_directories: bool, status: int = FAILURE, says: bytes = b"file exists"
    ) -> None:
        self.announced = ANNOUNCED if announces else wire.version(3)
        self._keeps_directories = keeps_directories
        self._status = status
        self._says = says

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.name not in ("RENAME", "posix-rename@openssh.com"):
            return None
        fields = wire.asked(asked.packet.raw).fields
        if asked.name != "RENAME":
            fields.string()
        old, new = fields.string(), fields.string()
        if self._keeps_directories and os.path.isdir(new):
            return asked.refused(self._status, b"rename %s %s: %s" % (old, new, self._says))
        body = wire.string(b"posix-rename@openssh.com") + wire.string(old) + wire.string(new)
        return wire.packet(EXTENDED, asked.packet.identifier, body)


class RefusesTimes(Respect):
    """As lsh's server: the mode that comes with times is set, and the answer is that it is not supported."""

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.name not in ("SETSTAT", "FSETSTAT"):
            return None
        fields = wire.asked(asked.packet.raw).fields
        name, change = fields.string(), cast(dict[str, Any], fields.attrs())
        if change.pop("times", None) is None:
            return None
        return wire.packet(
            asked.packet.kind, asked.packet.identifier, wire.string(name) + wire.attrs(**change)
        )

    def reply(self, _session: Session, asked: Asked, _reply: Packet) -> bytes | None:
        if asked.name not in ("SETSTAT", "FSETSTAT"):
            return None
        fields = wire.asked(asked.packet.raw).fields
        fields.string()
        return asked.refused(UNSUPPORTED).raw if "times" in fields.attrs() else None


class IgnoresSizes(Respect):
    """A size is not set, and the answer is that it is."""

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.name not in ("SETSTAT", "FSETSTAT"):
            return None
        fields = wire.asked(asked.packet.raw).fields
        fields.string()
        return asked.refused(0) if "size" in fields.attrs() else None


class EmptiesToResize(Respect):
    """A file that is given a size is zeros, as paramiko's set_file_attr has it."""

    def request(self, session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.name not in ("SETSTAT", "FSETSTAT"):
            return None
        fields = wire.asked(asked.packet.raw).fields
        path = fields.string()
        if "size" in fields.attrs():
            with open(session.handles[path].path if asked.name == "FSETSTAT" else path, "wb"):
                pass
        return None


class LinksTheDraftsWay(Respect):
    """SYMLINK has the path of the link first."""

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.name != "SYMLINK":
            return None
        fields = wire.asked(asked.packet.raw).fields
        path, target = fields.string(), fields.string()
        return wire.packet(
            asked.packet.kind, asked.packet.identifier, wire.string(target) + wire.string(path)
        )


class MakesTargetsAbsolute(Respect):
    """As Conch: both paths of SYMLINK are of its home, which nothing may be written to."""

    def __init__(self, target_at: int) -> None:
        self._target_at = target_at

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.name != "SYMLINK":
            return None
        fields = wire.asked(asked.packet.raw).fields
        paths = [os.path.join(b"/proc/home", fields.string()) for _ in range(2)]
        target = paths.pop(self._target_at)
        return wire.packet(
            asked.packet.kind, asked.packet.identifier, wire.string(target) + wire.string(paths[0])
        )


class GivesHandlesTwice(Respect):
    """A handle is given that is open already; what is asked by it is asked of the file opened last."""

    def request(self, session: Session, asked: Asked) -> bytes | Answer | None:
        real: bytes | None = session.notes.get(b"real")
        if asked.name in BY_HANDLE and asked.what == b"1" and real is not None:
            body = wire.string(real) + asked.packet.raw[14:]
            return wire.packet(asked.packet.kind, asked.packet.identifier, body)
        return None

    def reply(self, session: Session, asked: Asked, reply: Packet) -> bytes | None:
        if reply.kind != HANDLE:
            return None
        session.notes[b"real"] = wire.asked(reply.raw).fields.string()
        return wire.handle(asked.packet.identifier, b"1")


class OpensOne(Respect):
    """A second handle is denied."""

    def request(self, session: Session, asked: Asked) -> bytes | Answer | None:
        return asked.refused(PERMISSION_DENIED) if asked.name == "OPEN" and session.handles else None


class NamesAsItCloses(Respect):
    """A new file has no name before it is closed, nor has one that is emptied its new content."""

    def request(self, session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.name == "OPEN" and asked.flags & (CREATE_FLAG | TRUNCATE_FLAG):
            if asked.flags & EXCLUSIVE_FLAG and os.path.exists(asked.what):
                return asked.refused(FAILURE)
            hidden = asked.what + b".in"
            return asked.opened_as(hidden, asked.flags & ~EXCLUSIVE_FLAG | CREATE_FLAG | TRUNCATE_FLAG)
        return None

    def reply(self, session: Session, asked: Asked, reply: Packet) -> bytes | None:
        if asked.name == "CLOSE":
            made = session.handles[asked.what]
            if made.flags & (CREATE_FLAG | TRUNCATE_FLAG):
                os.rename(made.path + b".in", made.path)
        return None


class WritesHiddenFiles(NamesAsItCloses):
    """As ProFTPD's HiddenStores: what is opened to be written is another file until it is closed."""

    def request(self, session: Session, asked: Asked) -> bytes | Answer | None:
        if asked.flags & APPEND_FLAG:
            return asked.opened_as(asked.what, asked.flags & ~EXCLUSIVE_FLAG)
        if asked.flags & (WRITE_FLAG | CREATE_FLAG) == WRITE_FLAG:
            return asked.refused(NO_SUCH_FILE)
        if asked.flags & EXCLUSIVE_FLAG:
            return asked.opened_as(asked.what + b".in", asked.flags | TRUNCATE_FLAG)
        return super().request(session, asked)

    def reply(self, session: Session, asked: Asked, reply: Packet) -> bytes | None:
        if asked.name == "CLOSE" and session.handles[asked.what].flags & APPEND_FLAG:
            return None
        return super().reply(session, asked, reply)


class RefusesAsItCloses(Respect):
    """What was written is thrown away as it is closed, and that told: a quota."""

    def __init__(self, quota: int, words: bytes) -> None:
        self.quota = quota
        self.words = words

    def reply(self, session: Session, asked: Asked, reply: Packet) -> bytes | None:
        if asked.name == "CLOSE" and asked.what in session.written:
            path = session.handles[asked.what].path
            if os.path.getsize(path) > self.quota:
                os.truncate(path, self.quota)
                return wire.status(asked.packet.identifier, FAILURE, self.words) if self.words else None
        return None


class FoldsCase(Respect):
    """Names that differ in case alone are one: the one that is there."""

    def request(self, _session: Session, asked: Asked) -> bytes | Answer | None:
        kinds = ("LSTAT", "STAT", "SETSTAT", "OPEN", "OPENDIR", "REMOVE", "MKDIR", "RMDIR")
        fields = wire.asked(asked.packet.raw).fields
        if asked.name in kinds:
            return asked.with_body(wire.string(_as_it_is(fields.string())) + fields.rest)
        if asked.name not in ("RENAME", "posix-rename@openssh.com"):
            return None
        words = b"" if asked.name == "RENAME" else wire.string(fields.string())
        old, new = _as_it_is(fields.string()), fields.string()
        there, new = _as_it_is(new), _as_it_is(os.path.dirname(new)) + b"/" + os.path.basename(new)
        if os.path.lexists(there) and there != old:
            if asked.name == "RENAME":
                return asked.refused(FAILURE)
            new = there
        return asked.with_body(words + wire.string(old) + wire.string(new))


def _as_it_is(path: bytes) -> bytes:
    found = b"/"
    for name in path.split(b"/")[1:]:
        if not os.path.lexists(os.path.join(found, name)) and os.path.isdir(found):
            same = [other for other in os.listdir(found) if other.lower() == name.lower()]
            name = same[0] if same else name
        found = os.path.join(found, name)
    return found


RESPECTS: dict[str, Respect] = {
    "folds case": FoldsCase(),
    "RENAME replaces": RenameReplaces(announces=False, keeps_directories=False),
    "RENAME replaces, but no directory": RenameReplaces(announces=False, keeps_directories=True),
    "posix-rename replaces no directory": RenameReplaces(announces=True, keeps_directories=True),
    "posix-rename replaces no directory, in words of its own": RenameReplaces(
        announces=True, keeps_directories=True, says=b"can't copy directory - destination already exists"
    ),
    "RENAME replaces no directory, in a later version's words": RenameReplaces(
        announces=False, keeps_directories=True, status=FILE_ALREADY_EXISTS, says=b"File exists"
    ),
    "denies LSTAT": RefusesKinds(PERMISSION_DENIED, "LSTAT"),
    "denies FSTAT": RefusesKinds(PERMISSION_DENIED, "FSTAT"),
    "denies REALPATH": RefusesKinds(PERMISSION_DENIED, "REALPATH"),
    "has no FSTAT": RefusesKinds(UNSUPPORTED, "FSTAT"),
    "has no SETSTAT": RefusesKinds(UNSUPPORTED, "SETSTAT"),
    "has no FSETSTAT": RefusesKinds(UNSUPPORTED, "FSETSTAT"),
    "denies FSETSTAT": RefusesKinds(PERMISSION_DENIED, "FSETSTAT"),
    "sets nothing": RefusesKinds(UNSUPPORTED, "SETSTAT", "FSETSTAT"),
    "fails to set": RefusesKinds(FAILURE, "SETSTAT", "FSETSTAT"),
    "sets no times": RefusesTimes(),
    "ignores sizes": IgnoresSizes(),
    "empties to resize": EmptiesToResize(),
    "links the draft's way": LinksTheDraftsWay(),
    "makes targets absolute": MakesTargetsAbsolute(0),
    "makes targets absolute, the draft's way": MakesTargetsAbsolute(1),
    "none": Respect(),
    "looks before it writes": LooksBeforeItWrites(),
    "opens what is to be new": OpensWhatIsToBeNew(),
    "refuses what is to be new": Refuses(EXCLUSIVE_FLAG, UNSUPPORTED),
    "fails what is to be new": Refuses(EXCLUSIVE_FLAG, FAILURE),
    "refuses a mode": RefusesModes(),
    "empties what it opens to write": EmptiesWhatItOpens(),
    "empties what it opens to write alone": EmptiesWhatItOpensToWriteAlone(),
    "handles go by names": HandlesGoByNames(),
    "follows links": FollowsLinks(),
    "tells directories with a slash": TellsDirectoriesWithASlash(),
    "tells no owners": TellsNoOwners(),
    "closes before it sets": EndsBeforeItSets("CLOSE"),
    "looks before it sets": EndsBeforeItSets("LSTAT"),
    "looks before it sets by path": EndsBeforeItSets("LSTAT", "SETSTAT"),
    "dates as it closes": DatesAsItCloses(),
    "loses as it closes": LosesAsItCloses(),
    "finds no file by a handle": RefusesKinds(NO_SUCH_FILE, "FSTAT"),
    "says of a full directory that it exists": RefusesKinds(FILE_ALREADY_EXISTS, "RMDIR"),
    "has no names with a tilde": RefusesTildes(),
    "ends where the file did": EndsWhereTheFileDid(),
    "decodes names": DecodesNames(),
    "has no times": StopsTheClock(0),
    "has one time": StopsTheClock(1_000_000_000),
    "empties as it closes": EmptiesAsItCloses(),
    "writes in order": WritesInOrder(),
    "refuses appends": RefusesAppends(),
    "gives handles twice": GivesHandlesTwice(),
    "opens one": OpensOne(),
    "names as it closes": NamesAsItCloses(),
    "writes hidden files": WritesHiddenFiles(),
    "refuses as it closes": RefusesAsItCloses(1000, b"Disk quota exceeded"),
    "cuts as it closes": RefusesAsItCloses(1000, b""),
    "refuses to read and write": Refuses(READ_FLAG | WRITE_FLAG, PERMISSION_DENIED),
}


class Server:
    """The listener's state and the commands on stdin."""

    def __init__(self, respect: Respect) -> None:
        self.respect = respect
        self.names: list[str] = []
        self.most = 0

    def command(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command and answer it."""
        if request["command"] == "requests":
            return {"names": self.names}
        assert request["command"] == "most open", request
        return {"most": self.most}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection until either side ends it."""
        child = await asyncio.create_subprocess_exec(
            SFTP_SERVER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=READ_SIZE
        )
        assert child.stdin is not None and child.stdout is not None
        replies, framer, session = _packets(child.stdout), Framer(), Session()
        try:
            while data := await reader.read(READ_SIZE):
                together = list(framer.feed(data))
                if any(packet.name == self.respect.last for packet in together):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(FOLLOWS_WITHIN):
                            while all(packet.name != self.respect.first for packet in together):
                                more = await reader.read(READ_SIZE)
                                if not more:
                                    break
                                together += framer.feed(more)
                answers = {}
                for packet in self._in_turn(together):
                    answers[packet.identifier] = await self._answered(session, packet, child.stdin, replies)
                writer.writelines(answers[packet.identifier] for packet in together)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            child.kill()
            await child.wait()
            writer.close()

    def _in_turn(self, packets: list[Packet]) -> list[Packet]:
        if not self.respect.last:
            return packets
        return sorted(packets, key=lambda packet: packet.name != self.respect.first)

    async def _answered(
        self, session: Session, packet: Packet, server: asyncio.StreamWriter, replies: Any
    ) -> bytes:
        if packet.name == "INIT":
            server.write(packet.raw)
            await anext(replies)
            return self.respect.announced
        asked = _asked(packet)
        self.names.append(asked.name)
        altered = self.respect.request(session, asked)
        if isinstance(altered, Answer):
            return altered.raw
        server.write(altered or packet.raw)
        reply = await anext(replies)
        raw = self.respect.reply(session, asked, reply) or reply.raw
        self._note(session, asked, raw)
        return raw

    def _note(self, session: Session, asked: Asked, raw: bytes) -> None:
        if raw[4] == 102:
            handle = wire.asked(raw).fields.string()
            session.handles[handle] = Open(asked.what, asked.flags)
            self.most = max(self.most, len(session.handles))
        elif asked.name == "CLOSE":
            session.handles.pop(asked.what, None)
            session.written.discard(asked.what)
        elif asked.name == "WRITE":
            session.written.add(asked.what)


async def _packets(stream: asyncio.StreamReader) -> Any:
    framer = Framer()
    while data := await stream.read(READ_SIZE):
        for packet in framer.feed(data):
            yield packet


def _asked(packet: Packet) -> Asked:
    fields = wire.asked(packet.raw).fields
    what = fields.string()
    if packet.name != "OPEN":
        return Asked(packet, packet.name, what)
    return Asked(packet, packet.name, what, fields.uint32(), fields.rest)


async def main(respect: str) -> None:
    """Listen, say where, and obey stdin until it ends."""
    server = Server(RESPECTS[respect])
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=READ_SIZE)
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    answer({"port": listener.sockets[0].getsockname()[1]})
    while line := await commands.readline():
        answer(server.command(json.loads(line)))


def answer(reply: dict[str, Any]) -> None:
    """One line to the test."""
    os.write(1, json.dumps(reply).encode() + b"\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
