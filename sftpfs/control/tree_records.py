"""What a client sends a mount to make, one record after another, and what it is answered. Sans-IO.

After the request ``write_tree`` was answered with a first line of progress, the client sends records: a line
of JSON, and the bytes of a file's content behind it. Answers come as lines of progress, in any order:
``made`` has an entry (number of the record, errno or 0, outcome) for each record that is done. The client
sends a record ``end`` last. If it ends the stream without one, it gives up what is not made yet.

Both sides use this module. The mount believes nothing of it unchecked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sftpfs.control.protocol import MAX_REQUEST, ControlError, decode, encode

LARGEST_CONTENT = 1 << 20
"""Bytes of a file that goes this way: as many as the kernel hands over at once. For a larger one its bytes
take longer than the round trips that this way saves, and they are written as they are read."""

FILE, DIRECTORY, LINK, END = "file", "directory", "link", "end"

LARGEST = (1 << 63) - 1

ALL_MADE = "made"
"""Outcomes: it is there, with all it was to be given."""
BARE = "bare"
"""It is there, whole, without mode, times or owner."""
REFUSED = "refused"
"""Nothing was made."""
REMOVED = "removed"
"""A part was made, and is gone again."""
LEFT = "left"
"""A part was made, and may still be there."""

OUTCOMES = (ALL_MADE, BARE, REFUSED, REMOVED, LEFT)


class Record(NamedTuple):
    """One thing to make, ``name`` in the directory with inode number ``directory``, or the end of all."""

    number: int
    """By which it is answered."""
    kind: str
    directory: int = 0
    name: bytes = b""
    mode: int = 0
    """With which it is made."""
    target: bytes = b""
    """Where a link leads."""
    size: int = 0
    """Bytes of content that follow."""
    keep: tuple[int, int, int] = (0, 0, 0)
    """The mode, atime and mtime (nanoseconds) that it has in the end; not for a directory."""
    owner: tuple[int, int] | None = None
    """``keep`` is only for a file of this owner and group."""


def packed(record: Record) -> bytes:
    """The line of ``record``."""
    values: dict[str, Any] = record._asdict()
    values["name"], values["target"] = as_text(record.name), as_text(record.target)
    return encode(values)


def unpacked(line: bytes) -> Record:
    """Raises ControlError for what is no record, or names what is no name."""
    values = decode(line)
    kind = values.get("kind")
    if kind not in (FILE, DIRECTORY, LINK, END):
        raise ControlError("a record of no kind")
    name, target = _bytes(values.get("name")), _bytes(values.get("target"))
    if kind != END and (name in (b"", b".", b"..") or b"/" in name):
        raise ControlError("a record with a name that is none")
    record = Record(
        _number(values.get("number")),
        kind,
        _number(values.get("directory")),
        name,
        _number(values.get("mode"), 0o7777),
        target,
        _number(values.get("size"), LARGEST_CONTENT if kind == FILE else 0),
        _three(values.get("keep")),
        _owner(values.get("owner")),
    )
    if kind == LINK and not target:
        raise ControlError("a link without a target")
    return record


class Records:
    """Cuts what a client sends into records, each with its content.

    INVARIANT: holds back no more than a line, the content of one file, and what was fed last.
    """

    __slots__ = ("_held", "_record", "ended")

    def __init__(self) -> None:
        self._held = bytearray()
        self._record: Record | None = None
        self.ended = False
        """The record ``end`` came."""

    def feed(self, data: bytes) -> list[tuple[Record, bytes]]:
        """The records that are complete now. Raises ControlError."""
        held = self._held
        held += data
        complete: list[tuple[Record, bytes]] = []
        at = 0
        while not self.ended:
            if self._record is None:
                end = held.find(b"\n", at)
                if (len(held) if end < 0 else end) - at > MAX_REQUEST:
                    raise ControlError(f"a line of more than {MAX_REQUEST} bytes")
                if end < 0:
                    break
                self._record, at = unpacked(bytes(held[at:end])), end + 1
            if len(held) - at < self._record.size:
                break
            content, at = bytes(held[at : at + self._record.size]), at + self._record.size
            self.ended = self._record.kind == END
            complete.append((self._record, content))
            self._record = None
        del held[:at]
        if self.ended and held:
            raise ControlError("a record behind the end")
        return complete


def as_text(name: bytes) -> str:
    """As ``os.fsdecode``, whatever the locale."""
    return name.decode("utf-8", "surrogateescape")


def _bytes(value: object) -> bytes:
    if not isinstance(value, str) or "\0" in value:
        raise ControlError("a record with a text that is none")
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ControlError("a record with a text that is no name") from None


def _number(value: object, largest: int = LARGEST) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise ControlError("a record with a number that is out of bounds")
    return value


def _three(value: object) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise ControlError("a record that does not say what to keep")
    mode, *times = value
    if any(not isinstance(one, int) or isinstance(one, bool) or abs(one) > LARGEST for one in times):
        raise ControlError("a record with a time that is none")
    return _number(mode, 0o7777), times[0], times[1]


def _owner(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise ControlError("a record with an owner that is none")
    return _number(value[0]), _number(value[1])
