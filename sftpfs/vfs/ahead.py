"""Asking before somebody asks: listings and small files ahead, listings renewed.

The policies decide (``vfs.walk_ahead``, ``vfs.file_ahead``); this carries it out. A demand never waits for
anything here, but joins a request that is under way already.
"""

from __future__ import annotations

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.data import Contents
from sftpfs.remote.api import Remote
from sftpfs.types import Attributes, WholeFile
from sftpfs.vfs import in_place
from sftpfs.vfs.answers import leads_to
from sftpfs.vfs.background import Background
from sftpfs.vfs.enter_ahead import EnterAhead
from sftpfs.vfs.file_ahead import FileAhead
from sftpfs.vfs.inodes import Inode
from sftpfs.vfs.listings import Listings
from sftpfs.vfs.order import Order
from sftpfs.vfs.renew_ahead import RenewAhead
from sftpfs.vfs.tree import Tree
from sftpfs.vfs.walk_ahead import WalkAhead

MISSES_BEFORE_LISTING = 2
"""Names asked for one by one before the directory is listed: one may be all that is wanted."""

LARGEST_RENEWED = 5000
"""Entries: a longer listing costs more than the lookups it would answer."""

SHARE_LISTED_AHEAD = 2
"""Of the names that may be kept, the part that a walk may list ahead."""

LEAST_AFFORDABLE = 256 << 10
"""Bytes: what a few listings made together come to. A link that does not bring them in a second or two
is left to those who wait for an answer."""

LARGEST_GUESSED = 256 << 10
"""Size in bytes of a directory that is never listed to answer lookups: about 5,000 names on ext4."""


class Ahead:
    """Listings and files nobody waits for.

    INVARIANT: ``_fetching`` holds a slot for each file under way, filled when it arrived or failed;
    ``_asked_bytes`` is the sum of their sizes.
    """

    def __init__(
        self, tree: Tree, remote: Remote, contents: Contents, listings: Listings, background: Background
    ) -> None:
        self._tree = tree
        self._remote = remote
        self._contents = contents
        self._listings = listings
        self._background = background
        most_names = tree.bound // SHARE_LISTED_AHEAD
        self.walk = WalkAhead(Order.LISTING, most_names)
        """For programs that list."""
        self.probe = WalkAhead(Order.NAME, most_names)
        """For programs that look up names they know."""
        self.enter = EnterAhead()
        """For directories looked up by name."""
        self.renew = RenewAhead()
        """For programs that look for names in vain."""
        self.files = FileAhead()
        self._fetching: dict[int, Slot[None]] = {}
        self._asked_bytes = 0

    @property
    def _lists(self) -> bool:
        """May directories be listed unasked: is a listing believed when it is needed?"""
        return self._tree.policy.directory > 0.0 and self._quick

    @property
    def _quick(self) -> bool:
        """Does the link bring what is asked ahead beside what somebody waits for?"""
        return self._remote.affordable >= LEAST_AFFORDABLE

    def demanded(self, inode: Inode) -> None:
        """A program begins to list ``inode``."""
        if inode.directory is not None:
            inode.directory.ahead = False
        self.enter.entered(inode)
        self.probe.reached(inode)  # one who lists may open what is in it by name
        self.walk.demanded(inode)

    def looked_up(self, parent: Inode) -> None:
        """The first lookup that a listing made ahead answers; the second where it was made as the
        directory was looked up, for one may be all that is wanted."""
        assert parent.directory is not None
        if self.enter.entered(parent):
            return
        parent.directory.ahead = False
        self.walk.reached(parent)  # one who looks names up may have them from a listing made before
        self.probe.demanded(parent)
        self.advance()

    def found(self, directory: Inode) -> None:
        """``directory``, which was never listed, is looked up: what is in it may be wanted next."""
        assert directory.directory is not None
        if not self._lists:
            return
        if directory.directory.listing is None and self.enter.looked_up(
            directory, self._remote.round_trip, clock.now()
        ):
            self._background.spawn(self._list, directory, self.enter)

    def advance(self) -> None:
        """List and fetch ahead what a walk and a reader will reach next."""
        if not self._quick:
            return
        now = clock.now()
        round_trip = self._remote.round_trip
        for policy in (self.walk, self.probe) if self._lists else ():
            for directory in policy.plan(now, round_trip):
                self._background.spawn(self._list, directory, policy)
        self._fetch_ahead(now)

    async def _list(self, directory: Inode, policy: WalkAhead | EnterAhead) -> None:
        useful = False
        state = directory.directory
        assert state is not None
        state.ahead = True
        try:
            await self._listings.listing(directory)
            useful = True
        finally:
            policy.arrived(directory, useful)
        self.advance()

    def missed(self, parent: Inode) -> None:
        """A name in ``parent`` has to be asked for; where that happens again and again, list it."""
        directory = parent.directory
        assert directory is not None
        directory.misses += 1
        if directory.misses == 1 and not directory.complete_until:
            self.found(parent)  # the kernel knew its name, and so did not look it up
        needed = 1 if self.probe.window else MISSES_BEFORE_LISTING
        if directory.misses < needed or parent.attributes.size > LARGEST_GUESSED:
            return
        if not self._tree.policy.directory:
            return  # nothing listed may be believed
        # Names proven still true say nothing of the attributes listed with them.
        until = min(directory.complete_until, directory.listed_until)
        if until <= clock.now() and directory.listing is None:
            self.probe.demanded(parent)
            self._background.spawn(self._list_and_advance, parent)

    async def _list_and_advance(self, parent: Inode) -> None:
        await self._listings.refresh(parent)
        self.advance()

    def outdated(self, parent: Inode) -> None:
        """The listing of ``parent`` can no longer be proven true: make it anew."""
        directory = parent.directory
        assert directory is not None
        policy = self._tree.policy
        believed = policy.negative > 0.0 and policy.directory > 0.0  # else a listing proves no name missing
        if believed and len(directory.children) <= LARGEST_RENEWED:
            self._background.spawn(self._listings.refresh, parent)

    def absence_demanded(self, parent: Inode) -> None:
        """That a name is missing in ``parent`` has to be asked for, though it was listed."""
        now = clock.now()
        self.renew.demanded(parent, now)
        self._renew_ahead(now)

    def absence_used(self, parent: Inode) -> None:
        """That a name is missing in ``parent`` is known from what was asked ahead."""
        assert parent.directory is not None
        parent.directory.renewed_ahead = False
        self.renew.used(parent)
        self._renew_ahead(clock.now())

    def _renew_ahead(self, now: float) -> None:
        directories = self.renew.plan(now)
        if directories:
            self._background.spawn(self._renew, directories)

    async def _renew(self, directories: list[Inode]) -> None:
        asked = [one for one in directories if self._tree.path(one) is not None]
        unchanged: set[int] = set()
        try:
            answers = await in_place.look(self._tree, lambda *paths: self._remote.lstat_many(paths), *asked)
            for directory, answer in zip(asked, answers, strict=True):
                if isinstance(answer, Attributes):
                    assert directory.directory is not None
                    directory.directory.renewed_ahead = self._tree.renew_absence(directory, answer)
                    if directory.directory.renewed_ahead:
                        unchanged.add(directory.number)
        finally:
            for directory in directories:
                self.renew.arrived(directory, directory.number in unchanged)

    # -- files -------------------------------------------------------------------

    def opened(self, inode: Inode) -> Slot[None] | None:
        """A program opens ``inode`` to read it: where it is being fetched, what to wait for."""
        under_way = self._fetching.get(inode.number)
        self.files.opened(inode)
        if self.files.window and self._quick:
            self._fetch_ahead(clock.now())
        return under_way

    def _fetch_ahead(self, now: float) -> None:
        round_trip = self._remote.round_trip
        for inode in self.files.plan(now, round_trip):
            size = inode.attributes.size
            if self._asked_bytes + size > self._remote.affordable or not self._contents.reserve(size):
                self.files.arrived(inode, False)
                continue
            self._asked_bytes += size
            self._fetching[inode.number] = Slot()
            self._background.spawn(self._fetch, inode)
        walk = self.probe if self.files.order is Order.NAME else self.walk
        for directory in walk.expect(self.files.unlisted if self._lists else [], now, round_trip):
            self._background.spawn(self._list, directory, walk)

    async def _fetch(self, inode: Inode) -> None:
        size = inode.attributes.size
        useful = False
        whole: WholeFile | None = None
        try:
            if inode.aliases:
                return  # which of its names will be opened is not known
            mark = inode.change_mark
            asked = clock.now()
            whole = await in_place.look(self._tree, lambda path: self._remote.fetch(path, size), inode)
            unchanged = inode.change_mark == mark and not inode.handles
            if whole is not None and unchanged and leads_to(inode, whole.attributes):
                useful = self._install(inode, whole, asked)
            else:
                whole = None
        finally:
            if whole is None:
                self._contents.unreserve(size)
            self.files.arrived(inode, useful)
            self._asked_bytes -= size
            self._fetching.pop(inode.number).set(None)

    def _install(self, inode: Inode, whole: WholeFile, asked: float) -> bool:
        self._tree.refresh(inode, whole.attributes)
        if inode.content is None:
            inode.content = self._contents.create(inode.number)
        if not inode.content.prefetched(whole, asked):
            return False
        inode.ready_until = asked + self._tree.policy.attribute
        return True

    def statistics(self) -> dict[str, int]:
        """What was asked for ahead: listings in number, files in bytes."""
        listings = (self.walk.tally, self.probe.tally, self.enter.tally)
        files, renewed = self.files.tally, self.renew.tally
        return {
            "listings_ahead_issued": sum(tally.issued for tally in listings),
            "listings_ahead_used": sum(tally.used for tally in listings),
            "listings_ahead_wasted": sum(tally.wasted for tally in listings),
            "renewed_ahead_issued": renewed.issued,
            "renewed_ahead_used": renewed.used,
            "renewed_ahead_wasted": renewed.wasted,
            "files_ahead_issued_bytes": files.issued,
            "files_ahead_used_bytes": files.used,
            "files_ahead_wasted_bytes": files.wasted,
        }
