"""What the server says to the CLOSE of a file that was written: some servers decide about the file only then.

Used by ``remote.files.pooled_file``. A quota, a gateway's upload, a new file's rename to its name: only the
answer to CLOSE reports that such a thing failed. OpenSSH has reported everything before, and nobody waits for
its answer.

Three requests end such a file: a change of its attributes if one was deferred, CLOSE, and a look at what has
the name then. On a server that keeps no order each would wait for the one before. They go together if the
answers show which came first. FSETSTAT by a handle that is closed fails, and is then repeated by path. A look
that does not show what was written and set came too early, and is repeated. It is believed if the server was
once seen to show a file before its CLOSE as it was behind it.

A rename or removal of ours may be sent between CLOSE and what is asked behind it. That goes by the name that
the file has then, and a name is believed if the file still has it as the answer comes.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import Protocol

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, Status, StatusError, error
from sftpfs.remote.api import CurrentPath, HandedOver
from sftpfs.remote.handles.expected_version import ExpectedVersion, Question
from sftpfs.remote.pool.connection import ServerHandle
from sftpfs.remote.requests.setattr_request import set_named, shows
from sftpfs.remote.slots import Steps, on_filled
from sftpfs.server_traits import ServerTraits
from sftpfs.types import AttributeChange, Attributes

logger = logging.getLogger(__name__)

SHOWS = "shows_before_close"


def nobody_notified(failure: OSError) -> None:
    """``RemoteFile.refused`` before somebody owns the file."""
    logger.error("the server refused what was written as the file was closed: %s", failure.strerror)


def watch(closing: Slot[None], refused: Callable[[OSError], None]) -> None:
    """Calls ``refused`` if the server refuses the CLOSE of a file that was written."""

    def answered(slot: Slot[None]) -> None:
        if isinstance(slot.error, StatusError):
            refused(slot.error)

    on_filled(closing, answered)


class Written(Protocol):
    """What is needed of the open file."""

    @property
    def version(self) -> ExpectedVersion | None:
        """What it must be like, as far as that is known."""

    @property
    def path(self) -> bytes:
        """Where it is."""

    @property
    def current_path(self) -> CurrentPath:
        """Says where it is; None if it has no name any more."""

    @property
    def made(self) -> bool:
        """It was made by the handle there is, and had its name at once."""

    def put_away(self, handle: ServerHandle, *, with_change: bool) -> list[Slot[None]]:
        """CLOSE of every handle; with ``with_change``, that of ``handle`` goes beside its FSETSTAT under
        way."""


class HandOver:
    """One attempt, by one handle."""

    __slots__ = ("_change", "_file", "_handle", "_start_change", "_traits", "_version", "asked", "session")

    def __init__(
        self,
        file: Written,
        handle: ServerHandle,
        traits: ServerTraits,
        change: AttributeChange | None,
        start_change: Callable[[ServerHandle, AttributeChange], Slot[None]],
    ) -> None:
        """``start_change`` sends FSETSTAT by a handle."""
        assert file.version is not None
        self.session = handle.session
        self.asked: Question | None = None
        """Where the look that was believed stands among the changes of the file."""
        self._file = file
        self._handle = handle
        self._traits = traits
        self._change = change
        self._start_change = start_change
        self._version = file.version

    def steps(self) -> Steps[HandedOver]:
        """Raises what the server says to CLOSE, EIO if it has no such file behind it, and whatever a look
        raises."""
        file, handle, change, session = self._file, self._handle, self._change, self.session
        refused: BaseException | None = None
        together = change is not None and self._together()
        backdated = change is not None and self._backdates(change)
        setting = None if change is None else self._start_change(handle, change)
        if setting is not None and not together:
            refused = yield setting
        path = file.path
        early = together and self._may_look_early()
        self.asked = self._version.asked(handle.connection)
        closing = file.put_away(handle, with_change=together)
        looking = session.start_lstat_of_closing(path, handle.identifier) if early else None
        if setting is not None and together:
            refused = yield setting
        failure: BaseException | None = None
        for slot in closing:
            failure = failure or (yield slot)
        if looking is not None:
            yield looking
        if isinstance(refused, SessionLostError):
            raise refused
        if failure is not None:
            raise failure
        if change is not None and together and isinstance(refused, StatusError):
            refused = yield from self._set_by_path(change, refused)
        elif looking is not None and looking.error is None and self._shows(looking.result()):
            if self._traits.known.shows_before_close:
                return HandedOver(looking.result(), None)
            attributes = yield from self._seen()
            if backdated and self._same(looking.result(), attributes):
                self._traits.prove(SHOWS)
            return HandedOver(attributes, None)
        attributes = yield from self._seen()
        return HandedOver(attributes, refused)

    def _together(self) -> bool:
        """Whether FSETSTAT and CLOSE go together, so that nothing is left to try if FSETSTAT is refused."""
        return self._traits.known.sets_before_close and self._traits.sure("sets_by_handle")

    def _may_look_early(self) -> bool:
        traits, change = self._traits, self._change
        if not self._file.made or change is None or change.mtime is None:
            return False
        return traits.known.shows_before_close or traits.may_be_tried(SHOWS)

    def _backdates(self, change: AttributeChange) -> bool:
        """Whether ``change`` sets a time from before the file: CLOSE cannot give it the same one by
        chance."""
        return change.mtime is not None and change.mtime < self._version.attributes.mtime

    def _set_by_path(self, change: AttributeChange, refused: StatusError) -> Steps[BaseException | None]:
        """FSETSTAT beside CLOSE was ``refused``: because the handle was closed before, or for good."""
        yield from self._seen()  # a rename that was sent before is carried out, and known
        if self._file.current_path() is None:
            return refused
        failed = yield set_named(self.session, self._file.path, change)
        if failed is None:
            seen = f"FSETSTAT failed beside CLOSE ({refused.strerror}), SETSTAT was carried out"
            self._traits.contradict("sets_before_close", seen)
        elif isinstance(failed, SessionLostError):
            raise failed
        else:
            failed = refused
        return failed

    def _seen(self) -> Steps[Attributes]:
        """What the file is behind CLOSE, by the name that it has then."""
        file, version, again = self._file, self._version, True
        while True:
            path = file.path
            self.asked = version.asked(self._handle.connection)
            look = self.session.start_lstat(path)
            failed = yield look
            if isinstance(failed, SessionLostError):
                raise failed
            if file.current_path() is None:
                return version.without_a_name()
            if file.path != path:
                continue
            missing = isinstance(failed, StatusError) and failed.status == Status.NO_SUCH_FILE
            if again and (missing or (failed is None and not self._fits(look.result()))):
                again = False  # a rename may be carried out, and not be known here yet
                continue
            if missing:
                raise error(errno.EIO, "the server closed the file, and has none of its name")
            return look.result()

    def _fits(self, seen: Attributes) -> bool:
        version = self._version
        return seen.kind == version.kind and version.least <= seen.size <= version.most

    def _shows(self, seen: Attributes) -> bool:
        """Whether ``seen`` is the file with all that was written, and all that was set."""
        version, change = self._version, self._change
        assert change is not None
        if seen.kind != version.kind or not version.least == seen.size == version.most:
            return False
        return shows(change, seen)

    @staticmethod
    def _same(one: Attributes, other: Attributes) -> bool:
        return one.size == other.size and one.mtime == other.mtime and one.mode == other.mode


def kept(attributes: Attributes, least: int) -> OSError | None:
    """None if a file of ``attributes`` may have the ``least`` bytes that were acknowledged."""
    if attributes.size >= least:
        return None
    seen = f"the server has {attributes.size:,} of the {least:,} bytes it had acknowledged"
    return error(errno.EIO, f"{seen}, as the file is closed")
