"""The handles of one open file, and which of them a request takes.

Pure. ``remote.files.pooled_file`` is one of these.
"""

from __future__ import annotations

from sftpfs.remote.pool.connection import Connection, ServerHandle, silent_since
from sftpfs.types import OpenFlags


class FileHandles:
    """See the module.

    INVARIANT: ``_handles`` holds handles of one and the same remote file; the first
    is the primary, for everything but bulk, and the rest are stripes.
    INVARIANT: the connection of each knows of the file (``Connection.files``).
    """

    __slots__ = ("_handles", "closed", "flags", "heard", "used")

    flags: OpenFlags
    """What the server took."""

    def __init__(self, first: ServerHandle) -> None:
        self.closed = False
        self.used = True
        """A request was made since ``remote.handles.handle_limit`` last asked."""
        self.heard = 0.0
        """The last sign of life of any session the file had a handle on and lost, by ``clock.awake``."""
        self._handles = [first]
        first.connection.files[self] = None

    def can_evict(self, connection: Connection) -> bool:
        """As ``HandleOwner.can_evict``."""
        raise NotImplementedError

    def evict(self, connection: Connection) -> None:
        """As ``HandleOwner.evict``."""
        raise NotImplementedError

    def primary(self) -> ServerHandle | None:
        """The first handle that is alive."""
        handles = self._handles
        while handles:
            if handles[0].connection.live:
                return handles[0]
            self.drop(handles[0])
        return None

    def choose(self) -> ServerHandle | None:
        """The handle for the next piece of data: the stripe with the fewest bytes outstanding, if any."""
        handles = self._handles
        if len(handles) < 2:
            return self.primary()
        best: ServerHandle | None = None
        for handle in handles[1:]:
            connection = handle.connection
            if not connection.live:
                self.drop(handle)
            elif connection.stalled:
                continue
            elif best is None or connection.outstanding < best.connection.outstanding:
                best = handle
        return best or self.primary()

    def drop(self, handle: ServerHandle) -> None:
        """The session of ``handle`` is lost, and the handle with it."""
        if handle in self._handles:
            self._handles.remove(handle)
            handle.connection.files.pop(self, None)
            self.heard = max(self.heard, silent_since(handle.session))

    def install(self, handle: ServerHandle) -> None:
        """The file is open again."""
        if self.closed:
            handle.session.start_close(handle.identifier)
        else:
            self._handles.insert(0, handle)
            handle.connection.files[self] = None

    @property
    def connections(self) -> set[Connection]:
        """Where the file is open."""
        return {handle.connection for handle in self._handles}

    def join(self, stripes: list[ServerHandle]) -> None:
        """Further handles of this file."""
        self._handles.extend(stripes)
        for handle in stripes:
            handle.connection.files[self] = None
