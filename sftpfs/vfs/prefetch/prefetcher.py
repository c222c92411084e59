"""Asks before somebody asks: lists and fetches small files ahead, renews listings.

The policies decide (``vfs.prefetch.tree_walk``, ``vfs.prefetch.small_files`` …); this carries it out. A
demand never waits for anything here, but joins a request that is under way already.
"""

from __future__ import annotations

from functools import partial

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.data import Contents
from sftpfs.remote.api import Remote
from sftpfs.types import Attributes, WholeFile
from sftpfs.vfs.prefetch.background import BackgroundTasks
from sftpfs.vfs.prefetch.directory_enter import DirectoryEnterPrefetch
from sftpfs.vfs.prefetch.negative_renewal import NegativeRenewal
from sftpfs.vfs.prefetch.small_files import SmallFilePrefetch
from sftpfs.vfs.prefetch.traversal_order import Order
from sftpfs.vfs.prefetch.tree_walk import TreeWalkPrefetch
from sftpfs.vfs.readdir import DirectoryReader
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.server_answers import leads_to
from sftpfs.vfs.tree.tree import Tree

MISSES_BEFORE_LISTING = 2
"""Names asked for one by one before the directory is listed: a program may want only one."""

LARGEST_RENEWED = 5000
"""Entries: a longer listing costs more than the lookups it would answer."""

SHARE_LISTED_AHEAD = 2
"""A walk may list ahead one in this many of the names that may be kept."""

LEAST_AFFORDABLE = 256 << 10
"""Bytes: what a few listings made together amount to. A link that does not bring them in a second or two is
left to those who wait for an answer."""

LARGEST_GUESSED = 256 << 10
"""Size in bytes of a directory that is never listed to answer lookups: about 5,000 names on ext4."""


class Prefetcher:
    """Listings and files nobody waits for.

    INVARIANT: ``_fetching`` holds a slot for each file under way, filled when it arrived or failed;
    ``_asked_bytes`` is the sum of their sizes.
    """

    def __init__(
        self,
        tree: Tree,
        remote: Remote,
        contents: Contents,
        listings: DirectoryReader,
        background: BackgroundTasks,
    ) -> None:
        self._tree = tree
        self._remote = remote
        self._contents = contents
        self._listings = listings
        self._background = background
        most_names = tree.bound // SHARE_LISTED_AHEAD
        self.walk = TreeWalkPrefetch(Order.LISTING, most_names)
        """For programs that list."""
        self.probe = TreeWalkPrefetch(Order.NAME, most_names)
        """For programs that look up names they know."""
        self.enter = DirectoryEnterPrefetch()
        """For directories looked up by name."""
        self.renew = NegativeRenewal()
        """For programs that look for names in vain."""
        self.files = SmallFilePrefetch()
        self._fetching: dict[int, Slot[None]] = {}
        self._asked_bytes = 0

    @property
    def _lists(self) -> bool:
        """Whether directories may be listed unasked, that is, whether a listing is believed when it is
        needed."""
        return self._tree.policy.directory > 0.0 and self._quick

    @property
    def _quick(self) -> bool:
        """Whether the link can bring what is asked ahead beside what somebody waits for."""
        return self._remote.affordable >= LEAST_AFFORDABLE

    def on_listing(self, inode: Inode) -> None:
        """A program begins to list ``inode``."""
        if inode.directory is not None:
            self._tree.prefetch_used(inode)
        self.enter.on_entered(inode)
        self.probe.on_reached(inode)  # a program that lists may open by name what is in it
        self.walk.on_listing(inode)

    def on_first_lookup(self, parent: Inode) -> None:
        """The first lookup that a listing made ahead answers; the second one if the listing was made as the
        directory was looked up, because a program may want only one name."""
        if self.enter.on_entered(parent):
            return
        self._tree.prefetch_used(parent)
        self.walk.on_reached(parent)  # a program that looks names up may know them from an earlier listing
        self.probe.on_listing(parent)
        self.advance()

    def on_new_directory(self, directory: Inode) -> None:
        """``directory``, which was never listed, is looked up: a program may want what is in it next."""
        assert directory.directory is not None
        if not self._lists:
            return
        if directory.directory.listing is None and self.enter.on_lookup(
            directory, self._remote.round_trip, clock.now()
        ):
            self._background.spawn(self._list, directory, self.enter)

    def advance(self) -> None:
        """Lists and fetches ahead what a walk and a reader will reach next."""
        if not self._quick:
            return
        now = clock.now()
        round_trip = self._remote.round_trip
        for policy in (self.walk, self.probe) if self._lists else ():
            for directory in policy.plan(now, round_trip):
                self._background.spawn(self._list, directory, policy)
        self._fetch_ahead(now)

    async def _list(self, directory: Inode, policy: TreeWalkPrefetch | DirectoryEnterPrefetch) -> None:
        useful = False
        self._tree.listing_prefetched(directory)
        try:
            await self._listings.listing(directory, speculative=policy is not self.enter)
            useful = True
        finally:
            policy.on_reply(directory, useful)
        self.advance()

    def on_lookup_miss(self, parent: Inode) -> None:
        """A name in ``parent`` has to be asked for. If that happens again and again, lists it."""
        directory = parent.directory
        assert directory is not None
        misses = self._tree.lookup_missed(parent)
        if misses == 1 and not directory.complete_until:
            self.on_new_directory(parent)  # the kernel knew its name, and so did not look it up
        needed = 1 if self.probe.window else MISSES_BEFORE_LISTING
        if misses < needed or parent.attributes.size > LARGEST_GUESSED:
            return
        if not self._tree.policy.directory:
            return  # nothing listed may be believed
        # That names are proven still true says nothing of the attributes listed with them.
        until = min(directory.complete_until, directory.listed_until)
        if until <= clock.now() and directory.listing is None:
            self.probe.on_listing(parent)
            self._background.spawn(self._list_and_advance, parent)

    async def _list_and_advance(self, parent: Inode) -> None:
        await self._listings.refresh(parent, speculative=True)
        self.advance()

    def relist(self, parent: Inode, *, speculative: bool = False) -> None:
        """Lists ``parent`` anew, because its listing can no longer be proven true. ``speculative`` as in
        ``refresh``: no program looks for a missing name."""
        directory = parent.directory
        assert directory is not None
        policy = self._tree.policy
        believed = policy.negative > 0.0 and policy.directory > 0.0  # else a listing proves no name missing
        if believed and len(directory.children) <= LARGEST_RENEWED:
            self._background.spawn(partial(self._listings.refresh, parent, speculative=speculative))

    def on_absence_asked(self, parent: Inode) -> None:
        """sftpfs has to ask whether a name is missing in ``parent``, although it was listed."""
        now = clock.now()
        self.renew.on_absence_asked(parent, now)
        self._renew_ahead(now)

    def on_absence_used(self, parent: Inode) -> None:
        """A name is known to be missing in ``parent`` because of what was asked ahead."""
        self._tree.renewal_used(parent)
        self.renew.on_absence_used(parent)
        self._renew_ahead(clock.now())

    def _renew_ahead(self, now: float) -> None:
        directories = self.renew.plan(now)
        if directories:
            self._background.spawn(self._renew, directories)

    async def _renew(self, directories: list[Inode]) -> None:
        asked = [one for one in directories if self._tree.path(one) is not None]
        unchanged: set[int] = set()
        try:
            answers = await path_requests.query(
                self._tree, lambda *paths: self._remote.lstat_many(paths), *asked
            )
            for directory, answer in zip(asked, answers, strict=True):
                if isinstance(answer, Attributes) and self._tree.renew_absence_ahead(directory, answer):
                    unchanged.add(directory.number)
        finally:
            for directory in directories:
                self.renew.on_reply(directory, directory.number in unchanged)

    # -- files -------------------------------------------------------------------

    def on_open(self, inode: Inode) -> Slot[None] | None:
        """A program opens ``inode`` to read it. If it is being fetched, returns what to wait for."""
        under_way = self._fetching.get(inode.number)
        self.files.on_open(inode)
        if self.files.window and self._quick:
            self._fetch_ahead(clock.now())
        return under_way

    def _fetch_ahead(self, now: float) -> None:
        round_trip = self._remote.round_trip
        for inode in self.files.plan(now, round_trip):
            size = inode.attributes.size
            if not self._remote.affords(self._asked_bytes + size) or not self._contents.reserve(size):
                self.files.on_reply(inode, False)
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
            whole = await path_requests.query(self._tree, lambda path: self._remote.fetch(path, size), inode)
            unchanged = inode.change_mark == mark and not inode.handles
            if whole is not None and unchanged and leads_to(inode, whole.attributes):
                useful = self._install(inode, whole, asked)
            else:
                whole = None
        finally:
            if whole is None:
                self._contents.unreserve(size)
            self.files.on_reply(inode, useful)
            self._asked_bytes -= size
            self._fetching.pop(inode.number).set(None)

    def _install(self, inode: Inode, whole: WholeFile, asked: float) -> bool:
        self._tree.refresh(inode, whole.attributes)
        if not self._tree.content_of(inode, self._contents).prefetched(whole, asked):
            return False
        self._tree.content_prefetched(inode, asked)
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
