"""What is known of each file's content: what programs here wrote, what others did, what a read may show."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.simulation import masks
from tests.simulation.dates import Dates
from tests.simulation.disk import Node
from tests.simulation.history import History
from tests.simulation.kernel import PAGE

if TYPE_CHECKING:
    from tests.simulation.oracle import Oracle
    from tests.simulation.power import Loss


class Own:
    """Bytes a program wrote: ``offset`` None for an append."""

    __slots__ = ("at", "data", "offset", "second")

    def __init__(self, offset: int | None, data: bytes, at: float, second: int) -> None:
        self.offset = offset
        self.data = data
        self.at = at
        self.second = second
        """What the server's clock showed then."""


class View:
    """What programs here see from a change of theirs on; ``acknowledged`` at a moment (``History.moment``),
    or never so far: until then they may see what was before, too."""

    __slots__ = ("acknowledged", "content")

    def __init__(self, content: bytes, acknowledged: float = math.inf) -> None:
        self.content = content
        self.acknowledged = acknowledged


class Track:
    """One node. ``view`` is what programs here must see while nobody else changes it, by time.

    ``exact`` ends with the first change of another client, or the first error: then only the wider rules
    hold.
    """

    def __init__(self, node: Node, history: History) -> None:
        self.node = node
        self.history = history
        self.exact = True
        self.lossy = False
        """The server refused something of it: reads are not foretold, but who wrote is to be told."""
        self.foreign_at = -1.0
        self.writes: list[Own] = []
        self.under_way: list[Own] = []
        """Those that did not return: one that goes through (D3, F8) may be seen before it does."""
        self.accepted = -1.0
        """When the last of them returned."""
        self.views: list[View] = []
        self.opens: list[FileNotes] = []
        self.dates = Dates()
        self.appended = b""
        self.log = True
        """Nobody but appended so far."""
        self.last_change = ("", 0.0, 0)
        """The last change of ours that the server carried out: verb, when, and the mtime it left."""
        self.mixed = False
        """Of some of it, with size and times of now, which SFTP cannot show."""
        self.forgotten = False
        """The server lost its power, and with it something of this file."""

    # -- changes -----------------------------------------------------------------

    @property
    def view(self) -> bytes:
        return self.views[-1].content if self.views else self.node.content

    @property
    def reach(self) -> int:
        """The size with all that programs have begun to write."""
        begun = ((own.offset or 0) + len(own.data) for own in self.under_way)
        return max(len(self.view), *begun, 0)

    def foreign_change(self, now: float, appended: bool) -> None:
        self.log = self.log and appended
        self.exact = False
        self.foreign_at = now
        self.dates.disturbed()
        self._nothing_owed()

    def changed_by_us(self, verb: str, now: float, mtime: int) -> None:
        """The server carried out a write, a truncation or a change of times."""
        self.last_change = (verb, now, mtime)
        if verb == "truncate":
            self.dates.disturbed()
        if verb != "write":
            self._nothing_owed()

    def _nothing_owed(self) -> None:
        """The time of the file tells nothing more of what the server forgot."""
        for notes in self.opens:
            notes.owed = False

    def power_lost(self, loss: Loss, now: float, cuts: list[float], answer: float) -> None:
        """The server came back with the file as in ``loss``. ``answer``: seconds one takes at most.

        Who wrote and has it open is to be told by fsync where SFTP shows it: the file is as it was when it
        was opened, the last change was an acknowledged write, and that three seconds younger at least."""
        self.foreign_change(now, appended=False)
        self.forgotten = True
        self.mixed = self.mixed or loss.mixed
        if loss.mixed:
            self.lose()
            return
        (verb, at, mtime), self.last_change = self.last_change, ("", 0.0, 0)  # undone: no later loss takes it
        answered = at < now - answer and not any(at <= cut <= at + answer for cut in cuts[:-1])
        if verb == "write" and answered and mtime > loss.back.mtime + 3:
            for notes in self.opens:
                notes.owed = loss.back.at <= notes.opened and notes.sure is not None

    def brought_back(self) -> None:
        """Names are again as they were before a change of ours, as the server lost its power: what has the
        file open cannot be opened again, for us it has another name or none."""
        if self.opens:
            self.lose()

    def writing(self, offset: int | None, data: bytes, now: float) -> None:
        """A program's write(2) is under way; ``offset`` None: at the end."""
        self.log = self.log and offset is None
        self.writes.append(Own(offset, data, now, int(self.history.disk.seconds())))
        self.under_way.append(self.writes[-1])
        self.dates.begins(self.writes[-1])
        if not self.views:
            self.views.append(View(self.node.content, 0))
        if offset is None:
            self.appended += data

    def wrote(self, offset: int | None, data: bytes) -> None:
        """It was accepted."""
        view = self.view
        ended = [own for own in self.under_way if (own.offset, own.data) == (offset, data)]
        for own in ended[:1]:
            self.under_way.remove(own)
            self.dates.ended(own, self.history.moment, least=own.second)
        at = len(view) if offset is None else offset
        self.views.append(View(_over(view, at, data), self.history.moment))
        self.accepted = self.history.disk.now()

    def truncated(self, size: int) -> View:
        """The server cut the file for us; the view of it, for who acknowledges it."""
        self.log = False
        if not self.views:
            before = self.node.versions[-2].content if len(self.node.versions) > 1 else b""
            self.views.append(View(before, 0))
        view = self.view
        self.views.append(View(view[:size] + bytes(max(0, size - len(view)))))
        return self.views[-1]

    def busy(self, oracle: Oracle) -> bool:
        """Whether another call of ours writes the file at this moment."""
        return any(
            call.verb in ("write", "ftruncate", "truncate", "open") and self.node in oracle.targets(call)
            for call in oracle.calls
        )

    def lose(self) -> None:
        """Something of it failed: what is shown is not foretold any more; who has it open is to be told."""
        self.lossy = True

    # -- checks ------------------------------------------------------------------

    def justified(self, offset: int, data: bytes) -> bool:
        """Whether programs wrote these bytes there, alone or one after the other."""
        end = offset + len(data)
        left = [(offset, end)]
        for own in reversed(self.writes):
            if own.offset is None:
                continue
            begin, stop = own.offset, own.offset + len(own.data)
            rest = []
            for a, b in left:
                lo, hi = max(a, begin), min(b, stop)
                if lo >= hi:
                    rest.append((a, b))
                elif data[lo - offset : hi - offset] == own.data[lo - begin : hi - begin]:
                    rest += [(x, y) for x, y in ((a, lo), (hi, b)) if x < y]
                else:
                    rest.append((a, b))
            left = rest
            if not left:
                return True
        pieces = [data[a - offset : b - offset] for a, b in left]
        if all(piece in self.appended for piece in pieces):
            return True
        return self._each_byte(offset, left, data)

    def _each_byte(self, offset: int, left: list[tuple[int, int]], data: bytes) -> bool:
        """The same byte by byte, for writes over parts of others."""
        zero = any(own.offset is not None for own in self.writes)
        for a, b in left:
            for position in range(a, b):
                byte = data[position - offset]
                if zero and byte == 0:
                    continue
                if not any(
                    own.offset is not None
                    and own.offset <= position < own.offset + len(own.data)
                    and own.data[position - own.offset] == byte
                    for own in self.writes
                ):
                    return False
        return True

    def readable(
        self, offset: int, size: int, data: bytes, start: float, low: float, moment: int
    ) -> str | None:
        """None where a read begun at ``start`` of a file opened no earlier than ``low`` may bring ``data``;
        else why not."""
        if self.lossy:
            return None
        if self.exact and self.views:
            allowed = self.allowed(moment)
            allowed += [
                _over(self.view, own.offset, own.data) for own in self.under_way if own.offset is not None
            ]
            if any(data == view[offset : offset + size] for view in allowed):
                return None
            if len(allowed) > 1 and _of_several(offset, size, data, allowed):
                return None  # a read beside a write may have seen some of it
            return _difference(data, self.view[offset : offset + size], "what programs here wrote (C1)")
        versions = self.history.versions(self.node, low)
        contents = [version.content for version in versions]
        if any(data == content[offset : offset + size] for content in contents):
            return None
        if len(contents) == 1 and not self.writes:
            return _difference(data, contents[0][offset : offset + size], "what the server holds (P1, C2)")
        return self._mixture(offset, size, data, contents)

    def allowed(self, moment: int) -> list[bytes]:
        """What may be seen by a question of ``moment``."""
        first = 0
        for index, view in enumerate(self.views):
            if view.acknowledged < moment:
                first = index
        return [view.content for view in self.views[first:]]

    def may_have(self, size: int) -> bool:
        """Whether writes under way, which may be seen before they return, may have made it of ``size``."""
        now = len(self.view)
        ends = [(now if own.offset is None else own.offset) + len(own.data) for own in self.under_way]
        return now <= size <= max(ends, default=-1)

    def unlike_a_log(self, data: bytes, low: float) -> str | None:
        """Why ``data`` is no whole read of a file that was only appended to, opened no earlier than ``low``.

        It begins as the server had it at some moment since, and goes on with what programs here appended and
        is not there yet, in order."""
        contents = [version.content for version in self.history.versions(self.node, low)]
        for content in contents:
            waiting = b"".join(own.data for own in self.writes if own.data not in content)
            if data == (content + waiting)[: len(data)] and len(data) >= len(contents[0]):
                return None
        wanted = contents[-1] + b"".join(own.data for own in self.writes if own.data not in contents[-1])
        return _difference(data, wanted, "a log (E3, P1)")

    def written_since(self, start: float) -> bool:
        return any(own.at >= start for own in self.writes)

    def holds_since(self, start: float) -> bool:
        """Whether the server has, of each byte that was written since then, what is to be seen there."""
        content, view = self.node.content, self.view
        for own in self.writes:
            if own.at < start:
                continue
            if own.offset is None:
                return False
            end = own.offset + len(own.data)
            if content[own.offset : end] != view[own.offset : end]:
                return False
        return True

    def cut_since(self, start: float) -> bool:
        """Whether it became shorter since then."""
        sizes = [version.size for version in self.history.versions(self.node, start)]
        return any(after < before for before, after in itertools.pairwise(sizes))

    def _mixture(self, offset: int, size: int, data: bytes, contents: list[bytes]) -> str | None:
        """Each byte from some moment allowed, or written here."""
        if all(own.offset is not None for own in self.writes):  # an append may be anywhere
            allowed = 0
            for content in contents:
                allowed |= masks.agreeing(data, offset, content)
            for own in self.writes:
                assert own.offset is not None
                allowed |= masks.within(offset, len(data), own.offset, own.offset + len(own.data))
            if self.writes:  # zeros before what was written beyond the end
                end = max(offset, min(map(len, contents)))
                allowed |= masks.agreeing(data, offset, bytes(max(0, offset + len(data) - end)), end)
            if allowed != masks.everything(len(data)):
                return _difference(data, contents[-1][offset : offset + size], "any moment allowed (P1, C2)")
        ends = [min(len(content), offset + size) - offset for content in contents]
        if len(data) < min(max(0, end) for end in ends):
            return f"{len(data)} bytes, never fewer than {min(ends)} on the server (P1)"
        return None


class FileNotes:
    """What the oracle knows of one open file of a program's: ``nodes`` it may be."""

    def __init__(self, oracle: Oracle, nodes: set[Node], flags: int, opened: float, low: float) -> None:
        self.oracle = oracle
        self.nodes = nodes
        self.flags = flags
        self.opened = opened
        self.low = low
        self.from_memory = flags & (os.O_ACCMODE | os.O_TRUNC) == 0
        self.reported = any(oracle.track(node).lossy for node in nodes)
        """An error was told since the last write through this file."""
        self.owed = False
        """The server forgot what was written, and fsync is to tell."""
        self.writes = 0

    def writing(self, position: int, data: bytes) -> None:
        """The kernel sends a FUSE_WRITE."""
        for node in self.nodes:
            track = self.oracle.track(node)
            if len(self.nodes) > 1:
                track.exact = False
            track.writing(None if self.flags & os.O_APPEND else position, data, self.oracle.disk.now())

    def wrote(self, position: int, data: bytes) -> None:
        """It was acknowledged."""
        self.writes += 1
        for node in self.nodes:
            track = self.oracle.track(node)
            track.wrote(None if self.flags & os.O_APPEND else position, data)

    def beneath_twins(self, offset: int, data: bytes) -> Iterator[tuple[Node, bytes]]:
        """Each node that is taken for another one, and what a read that brought ``data`` found of it beneath
        what programs wrote to that other.

        What is written to an open file is laid over what its name leads to until those two are told apart, by
        size and mtime (F12). Nothing else of one file may be in a read of another."""
        oracle = self.oracle
        for node in self.nodes:
            written = [own for twin in oracle.twins.of(node) - {node} for own in oracle.track(twin).writes]
            if written:
                yield node, _without(written, offset, data, node.content)

    @property
    def sure(self) -> Node | None:
        """The node, where there is no doubt."""
        return next(iter(self.nodes)) if len(self.nodes) == 1 else None


def _over(view: bytes, offset: int, data: bytes) -> bytes:
    """``view`` with ``data`` written at ``offset``."""
    return view[:offset].ljust(offset, b"\0") + data + view[offset + len(data) :]


def _without(written: list[Own], offset: int, data: bytes, content: bytes) -> bytes:
    """``data``, read at ``offset``, with what ``content`` has in place of each byte that was ``written``; it
    ends where ``content`` does if all that follows was written."""
    ours = 0
    for own in written:
        if own.offset is not None:
            ours |= masks.agreeing(data, offset, own.data, own.offset)
    there = content[offset : offset + len(data)]
    beyond = masks.within(offset, len(data), offset + len(there), offset + len(data))
    found = masks.replaced(data, ours & ~beyond, there.ljust(len(data), b"\0"))
    return found[: len(there)] if ours & beyond == beyond else found


def _of_several(offset: int, size: int, data: bytes, views: list[bytes]) -> bool:
    """Whether each byte is one of some view, and the end that of one; or, beside a cut, where a page ends:
    the kernel copies page by page, and finds the file shorter at the next one."""
    ends = {max(0, min(len(view) - offset, size)) for view in views}
    cut = any(len(after) < len(before) for before, after in itertools.pairwise(views))
    paged = cut and (offset + len(data)) % PAGE == 0 and min(ends) < len(data) < max(ends)
    if not paged and len(data) not in ends:
        return False
    seen = 0
    for view in views:
        seen |= masks.agreeing(data, offset, view)
    return seen == masks.everything(len(data))


def first_difference(one: bytes, other: bytes) -> int:
    """Where two contents differ first; the shorter's end where it is the beginning of the other."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _difference(got: bytes, wanted: bytes, what: str) -> str:
    at = first_difference(got, wanted)
    return (
        f"{len(got)} bytes, {len(wanted)} expected by {what}; at {at} {bytes(got[at : at + 16])!r} "
        f"for {wanted[at : at + 16]!r}"
    )
