"""What is known of an open file's version, so that it can be told from another file of its name.

Pure. One object a remote file, shared by all its handles (``remote.handles.open_files``), because a file is
what all of them made of it. ``remote.files.pooled_file`` reports what was sent and answered.
``remote.files.reopen`` asks whether what a path leads to now is the same file.

SFTP v3 has no inode numbers. A file is taken for the one that was open if its type is the same, and
- if nothing of ours was under way: its size and mtime are those last reported;
- otherwise: its size is between what was acknowledged and what was sent, and its mtime is no older than the
  one last reported, or than the server's clock as the first change since was sent. (A write sets the server's
  time, which takes back a time in the future that somebody had set.)

What this cannot tell apart is taken for the same: a file that was replaced by another of equal size within
the second, which close-to-open cannot tell either.

A server that loses its power forgets what it acknowledged since the last FSYNC. Such a file comes back with a
time from before those writes. Then it is one of ``doubts``, which FSYNC reports by each handle.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from sftpfs.types import MTIME_GRAIN, AttributeChange, Attributes


class Change:
    """One change of ours under way: a piece of a write, or a change of size or times."""

    __slots__ = ("appended", "connection", "end", "follows", "mtime", "number", "orderly", "size")

    def __init__(
        self,
        number: int,
        connection: object,
        *,
        end: int = 0,
        appended: int = 0,
        size: int | None = None,
        mtime: float = math.inf,
    ) -> None:
        self.number = number
        """Its place among all changes of the file."""
        self.connection = connection
        """Changes that share it are carried out in the order sent."""
        self.end = end
        """The size it makes at least; 0 for an append."""
        self.appended = appended
        """Bytes it adds, wherever the end is."""
        self.size = size
        """The size it sets."""
        self.mtime = mtime
        """The oldest mtime it can leave, seconds."""
        self.follows = True
        """A write that begins where all before it ended, or that was sent before."""
        self.orderly = True
        """Everything that was under way when it was sent is carried out before it."""


class Question(NamedTuple):
    """Attributes were asked for."""

    sent: int
    """Changes sent before."""
    orderly: bool
    """Those that were unanswered stood before it on its own session."""
    moves: int
    """What was known then (``ExpectedVersion.moves``)."""
    acknowledged: Change | None
    """The last change acknowledged before."""


class ExpectedVersion:
    """See the module.

    INVARIANT: ``least`` ≤ ``most``; both are the size where ``exact``.
    INVARIANT: ``_under_way`` are the changes sent and not answered.
    """

    __slots__ = (
        "_acknowledged",
        "_cut",
        "_cut_by",
        "_cutting",
        "_redated",
        "_synced",
        "_under_way",
        "attributes",
        "doubts",
        "doubts_reported",
        "exact",
        "kind",
        "least",
        "most",
        "moves",
        "mtime",
        "sent",
        "tail",
    )

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        """Those last reported."""
        self.kind = attributes.kind
        self.least = self.most = attributes.size
        self.mtime: float = attributes.mtime
        """No older one can be this file's."""
        self.exact = True
        """Size and mtime are as reported, with no change of ours since."""
        self.sent = 0
        """Changes of ours sent so far."""
        self.moves = 0
        """Counts what was learned or sent: an answer that does not fit now may have fitted before."""
        self.tail: bytes = b""
        """The last bytes that were appended through us in one request; they end at ``least`` or before."""
        self.doubts = 0
        """How often the server came back with a version from before what it had acknowledged."""
        self.doubts_reported = 0
        """How many of them an FSYNC by some handle reported."""
        self._under_way: dict[Change, None] = {}
        self._acknowledged: Change | None = None
        self._cutting = 0
        """Sizes set that are under way, or whose outcome is unknown and after which nothing was reported."""
        self._cut: Change | None = None
        self._cut_by = 0
        """The last size set that was acknowledged, and the changes sent by then."""
        self._synced = 0
        self._redated = 0
        """The last change that set a time."""

    # changes of ours

    def without_a_name(self) -> Attributes:
        """The file's attributes as far as they are known here, if it has no name and FSTAT is not
        answered."""
        return self.attributes._replace(size=self.most)

    def write_sent(self, connection: object, end: int, now: float) -> Change:
        """A write up to ``end`` is sent. ``now`` is the earliest time that the server's clock may show."""
        if end > self.most:
            self.most = end
        return self._changing(Change(self.sent + 1, connection, end=end, mtime=now))

    def append_sent(self, connection: object, length: int, now: float) -> Change:
        """``length`` more bytes are sent, to go to the end; ``now`` as for ``write_sent``."""
        self.most += length
        return self._changing(Change(self.sent + 1, connection, appended=length, mtime=now))

    def setattr_sent(self, connection: object, change: AttributeChange, now: float) -> Change:
        """SETSTAT or FSETSTAT with a size or times is sent; ``now`` as for ``write_sent``."""
        size, mtime = change.size, math.inf
        if size is not None:
            self.least, self.most = min(self.least, size), max(self.most, size)
            self._cutting += 1
            mtime = now
        if change.mtime is not None:
            mtime = min(mtime, change.mtime)
            self._redated = self.sent + 1
        return self._changing(Change(self.sent + 1, connection, size=size, mtime=mtime))

    def _changing(self, change: Change) -> Change:
        self.sent += 1
        self.moves += 1
        self.exact = False
        if change.size is not None:
            change.orderly = self._orderly(change.connection)
        self.mtime = min(self.mtime, change.mtime)
        self._under_way[change] = None
        return change

    def ended(self, change: Change, done: bool) -> None:
        """``change`` was answered; ``done``: the server made it. Otherwise it may have been made."""
        self._under_way.pop(change, None)
        self.moves += 1
        if not done:
            return  # the size may still have been set, even later: nothing is sure until it is reported
        if change.size is not None:
            self._cutting -= 1
            self._cut, self._cut_by = change, self.sent
            self.least = min(self.least, change.size)
            if change.number == self.sent and change.orderly and not self._under_way:
                self.least = self.most = change.size
        elif self._stays(change):
            if change.appended:
                self.least = min(self.least + change.appended, self.most)
            elif change.end > self.least:
                self.least = min(change.end, self.most)
        self._acknowledged = change

    def _stays(self, change: Change) -> bool:
        """Whether what ``change`` wrote is surely there, because no size that we set can have cut it off
        since."""
        if self._cutting:
            return False
        cut = self._cut
        if cut is None or change.number > self._cut_by:
            return True
        return change.number > cut.number and change.connection is cut.connection

    # what the server tells

    def asked(self, connection: object) -> Question:
        """The file's attributes are about to be asked for on ``connection``."""
        return Question(self.sent, self._orderly(connection), self.moves, self._acknowledged)

    def _orderly(self, connection: object) -> bool:
        return all(one.connection is connection for one in self._under_way)

    def reported(self, attributes: Attributes, question: Question) -> None:
        """The answer to ``question``: size and mtime, behind what was sent before it.

        It is of no use if a change, before it or behind it, may be on its other side.
        """
        later = self._under_way
        if not question.orderly or len(later) != self.sent - question.sent:
            return
        if any(change.size is not None or change.number <= question.sent for change in later):
            return
        self.moves += 1
        self.attributes = attributes
        self._cutting = 0
        self.least = attributes.size
        self.most = max((change.end for change in later), default=0)
        self.most = max(self.most, attributes.size) + sum(change.appended for change in later)
        self.mtime = min((change.mtime for change in later), default=math.inf)
        self.mtime = min(self.mtime, attributes.mtime)
        self.exact = not later

    def accepts(self, attributes: Attributes, now: float = math.inf) -> bool:
        """Whether a file with ``attributes`` can be this one. ``now``: the earliest time that the server's
        clock may show, which may have been set back since our changes were sent; infinite if it is not known.
        """
        if attributes.kind != self.kind or not self.least <= attributes.size <= self.most:
            return False
        return attributes.mtime == self.mtime if self.exact else self._late_enough(attributes, now)

    def grown(self, attributes: Attributes, now: float = math.inf) -> bool:
        """Whether ``attributes`` may be of this file, appended to by others; then its ``tail`` must be looked
        at. ``now`` as for ``accepts``."""
        if attributes.kind != self.kind or not self.tail:
            return False
        return attributes.size > self.most and self._late_enough(attributes, now)

    def _late_enough(self, attributes: Attributes, now: float) -> bool:
        return attributes.mtime >= int(min(self.mtime, now))

    def lacks(self, attributes: Attributes, question: Question) -> bool:
        """Whether the answer to ``question``, the first behind all changes of ours, is a smaller size than
        what was acknowledged before it came."""
        first = not self.exact and question.orderly and question.sent == self.sent
        return first and not self._under_way and attributes.size < self.least

    def unmoved(self, attributes: Attributes, question: Question) -> bool:
        """Whether the answer to ``question`` has a time from before the last write that was acknowledged."""
        last = question.acknowledged
        if last is None or last.size is not None or last.number <= self._redated:
            return False
        return attributes.mtime + MTIME_GRAIN < last.mtime

    # a server that lost its power

    def synced(self, sent: int) -> None:
        """FSYNC behind the first ``sent`` changes was carried out."""
        self._synced = max(self._synced, sent)

    def came_back(self, attributes: Attributes, question: Question, surely: bool) -> None:
        """The file is open on a new session, accepted as ``attributes``, and may be from before what is not
        synced. ``surely``: the server's clock was known when changes were sent; otherwise only a time that
        did not move at all counts."""
        last = question.acknowledged
        if (
            self.exact
            or last is None
            or last.number <= max(self._synced, self._redated)
            or last.size is not None
        ):
            return
        if attributes.mtime < int(last.mtime) and (surely or attributes.mtime <= self.attributes.mtime):
            self.doubts += 1
            self._synced = last.number  # reported once
