"""A listing under way, and what readers are shown of a directory.

Synchronous but for ``Snapshot.more_than``. ``vfs.tree.listed_directories`` and ``vfs.readdir`` own what is
written here.
"""

from __future__ import annotations

import errno

from sftpfs.aio import Slot
from sftpfs.errors import error, fresh


class Snapshot:
    """The names that a reader is shown, each at its place for good: of a listing in parts, those that have
    come so far. Several readers may share it.

    INVARIANT: no name is in ``names`` twice; names are only added, and only while ``growing``.
    """

    __slots__ = ("_failure", "_longer", "names")

    def __init__(self, names: list[bytes], *, growing: bool = False) -> None:
        self.names = names
        self._longer: Slot[None] | None = Slot() if growing else None
        self._failure: OSError | None = None

    @property
    def growing(self) -> bool:
        """Whether further names may come."""
        return self._longer is not None

    async def more_than(self, count: int) -> bool:
        """Waits until there are more than ``count`` names. False if there are no more, and that is all there
        is. Raises why the rest did not come."""
        while len(self.names) <= count:
            if self._failure is not None:
                raise fresh(self._failure)
            if self._longer is None:
                return False
            await self._longer.wait()
        return True

    def add(self, names: list[bytes]) -> None:
        """These came."""
        longer = self._longer
        assert longer is not None
        if names:
            self.names += names
            self._longer = Slot()
            longer.set(None)

    def end(self, failure: OSError | None = None) -> None:
        """All have come, or no more will because of ``failure``."""
        longer, self._longer, self._failure = self._longer, None, failure
        if longer is not None:
            longer.set(None)


class PendingListing:
    """A listing under way. ``changed`` holds the names that we changed since it began, ``answered`` those
    that the server was asked for one by one. ``begun`` is the tree's count of our changes when it began. It
    is ``speculative`` while no program asked for it: then it proves no name missing.

    ``asked`` is when it began (``clock.now``). ``snapshot`` is what readers are shown of it before it has
    ended, None before there is anything, and of a small directory; ``begins`` is filled when there is, or
    when it has ended. ``foreign``: some of the names that it has brought were not known. ``wanted``: somebody
    who reads no directory waits for its end."""

    __slots__ = (
        "answered",
        "asked",
        "begins",
        "begun",
        "changed",
        "foreign",
        "slot",
        "snapshot",
        "speculative",
        "wanted",
    )

    def __init__(self, begun: int = 0, asked: float = 0.0, *, speculative: bool = False) -> None:
        self.speculative = speculative
        self.slot: Slot[None] = Slot()
        self.begins: Slot[None] = Slot()
        self.begun = begun
        self.asked = asked
        self.changed: set[bytes] = set()
        self.answered: set[bytes] = set()
        self.snapshot: Snapshot | None = None
        self.foreign = False
        self.wanted = False

    def demanded(self) -> None:
        """A program asks for this listing."""
        self.speculative = False

    def shown(self, snapshot: Snapshot) -> None:
        """From now on readers are shown ``snapshot``."""
        self.snapshot = snapshot
        self.begins.set(None)

    def ended(self, failure: OSError | None = None) -> None:
        """It is here as a whole, or failed. Everybody who waits goes on."""
        if self.snapshot is not None:
            interrupted = failure is not None and failure.errno == errno.EINTR
            self.snapshot.end(error(errno.EIO) if interrupted else failure)
        if not self.begins.done:
            self.begins.set(None)
        if failure is None:
            self.slot.set(None)
        else:
            self.slot.fail(failure)
