"""``sftpfs doctor --try``: tries out, with files of its own, how this server behaves where servers differ.

Works by the requests of one session, in a directory that it makes in the named one and removes at the end. It
reports what it finds to the session's ``ServerTraits``; ``means`` says what that means for a mount.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from sftpfs.doctor.findings import Finding, good, note
from sftpfs.errors import SessionLostError
from sftpfs.server_traits import LACKS, ServerTraits
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, OpenFlags

NEW = OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE
LONG_AGO = 1_000_000_000
CONTENT = b"what was there before"

ROUNDS = 20
"""Writes with a question behind each. A server that keeps no order usually shows it at the first."""

MEANS = {
    "carries_out_in_order": "a change and the look behind it take two round trips",
    "numbers_handles_as_openssh": "opening and reading a small file, and a listing, take a round trip more",
    "closes_without_a_word": "close(2) waits for the server's answer about the file",
    "honours_exclusive": "O_EXCL is a look and then an open, and so no lock between clients",
    "rename_keeps_what_is_there": "a rename that must not replace looks first: no lock between clients",
    "keeps_names_short": "they are shown and used",
    "keeps_names": "names that are not UTF-8 are refused",
    "takes_symlink_target_first": "links are made the other way round",
    "keeps_link_targets": "a link that would lead elsewhere is removed again, and refused",
    "gives_each_handle_once": "one file is open at a time",
    "handles_outlive_names": "a file that is replaced while it is open is stale",
    "opens_several": "one file is open at a time",
    "writes_anywhere": "changing a part of a file fails; whole new files can be written",
    "writes_in_any_order": "a write that does not follow the one before fails",
    "opens_what_is_there": "changing a part of a file fails, except appending to it",
    "appends": "what is appended is written at the end as it was just before",
    "reads_and_writes": "a file open for both has two handles",
    "creates_with_a_mode": "permissions of a new file are set behind it",
    "takes_exclusive": "O_EXCL is a look and then an open, and so no lock between clients",
    "answers_fstat": "an open file is asked about by its name",
    "answers_lstat": "symbolic links show as what they lead to",
    "answers_stat": "with follow_symlinks links are shown as links",
    "renames_links": "a link is not renamed, nor anything over one",
    "answers_realpath": "the directory is taken as it is written",
    "sets_by_handle": "an open file is changed by its name",
    "sets_before_close": "closing a written file takes a round trip more",
    "shows_before_close": "the look at a written file waits until it is closed",
    "sets_by_path": "a file is changed by opening it",
    "sets_modes": "chmod fails",
    "sets_times": "setting times fails, as in cp -p, tar and rsync -t",
    "sets_sizes": "a file is emptied by opening it, made longer by writing, and not cut shorter",
    "resizes_in_place": "the same",
    "mtime_shows_writes": "a change by others that keeps the size is not noticed by the time",
    "keeps_case_apart": "File and file are one",
}
"""What the lack of each trait means for a mount."""


def means(traits: ServerTraits, tried: bool) -> list[Finding]:
    """What the server is known to do, or was ``tried`` to do, and how a mount deals with what it does not."""
    lacking = [(trait, seen) for trait, granted, seen in traits.table() if not granted]
    if not lacking:
        if tried:
            return [good("it does all that a mount relies on as OpenSSH does")]
        return [good("by what it says of itself it is OpenSSH's, which does all that a mount relies on")]
    findings = []
    for trait, seen in lacking:
        if seen:
            findings.append(note(f"this server {LACKS[trait]}: {seen}", MEANS[trait]))
    careful = [trait for trait, seen in lacking if not seen]
    if careful:
        doing = "; ".join(LACKS[trait] for trait in careful)
        findings.append(
            note(f"a mount takes care, as with every server it does not know, in case it {doing}")
        )
    return findings


class Trial:
    """The tries, in their own directory. Used once."""

    def __init__(self, session: Session, directory: bytes) -> None:
        self._session = session
        self._traits = session.traits
        self._top = os.path.join(directory, b".sftpfs-try-" + secrets.token_hex(8).encode())
        self._made: list[bytes] = []

    async def run(self) -> AsyncIterator[Finding]:
        """Tries each, and reports what is not as with OpenSSH. Raises OSError if nothing can be made."""
        await self._session.start_mkdir(self._top, 0o700).wait()
        try:
            untried = [await self._untried(what, attempt) for what, attempt in self._attempts()]
        finally:
            with trio.CancelScope(shield=True):
                await self._tidy()
        missed = [finding for finding in untried if finding is not None]
        for finding in [*missed, *means(self._traits, tried=not missed)]:
            yield finding

    def _attempts(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        return [
            ("the order of requests", self._order),
            ("files that are to be new", self._exclusive),
            ("several files open at once", self._handles),
            ("writing in part and at the end", self._writing),
            ("a plain rename", self._renaming),
            ("symbolic links", self._links),
            ("attributes", self._attributes),
            ("names in another case", self._case),
        ]

    async def _untried(self, what: str, attempt: Callable[[], Awaitable[None]]) -> Finding | None:
        """None if ``attempt`` could be made; otherwise a note that says why not. Raises if the session is
        lost."""
        refused = await _tried(attempt)
        return note(f"could not be tried: {what} ({refused.strerror})") if refused else None

    def _path(self, name: bytes) -> bytes:
        path = os.path.join(self._top, name)
        if path not in self._made:
            self._made.append(path)
        return path

    async def _tidy(self) -> None:
        for path in reversed(self._made):
            await _tried(self._session.start_remove(path).wait)
        await _tried(self._session.start_rmdir(self._top).wait)

    async def _file(self, name: bytes, content: bytes = CONTENT) -> bytes:
        path = self._path(name)
        handle = await self._session.start_open(
            path, OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.TRUNCATE
        ).wait()
        await self._session.start_write(handle, 0, content).wait()
        if await _tried(self._session.start_close(handle).wait):
            self._traits.contradict("closes_without_a_word", "a written file could not be closed")
        return path

    async def _content(self, path: bytes) -> bytes:
        handle = await self._session.start_open(path, OpenFlags.READ).wait()
        try:
            return bytes(await self._session.start_read(handle, 0, 4096).wait() or b"")
        finally:
            self._session.start_close(handle)

    async def _order(self) -> None:
        session = self._session
        path = await self._file(b"order", b"")
        handle = await session.start_open(path, OpenFlags.WRITE).wait()
        kept, session.order = session.order, None
        try:
            for size in range(4096, 4096 * ROUNDS, 4096):
                written = session.start_write(handle, size - 4096, bytes(4096))
                seen = session.start_fstat(handle)
                await written.wait()
                reported = (await seen.wait()).size
                if reported < size:
                    self._traits.contradict(
                        "carries_out_in_order", f"a size of {reported} asked behind a write up to {size}"
                    )
                    return
        finally:
            session.order = kept
            session.start_close(handle)

    async def _exclusive(self) -> None:
        path = self._path(b"new")
        opening = self._session.start_open
        refused = await _tried(lambda: self._closed(opening(path, NEW, 0o640).wait))
        if refused:
            if not await _tried(lambda: self._closed(opening(self._path(b"new2"), NEW).wait)):
                self._traits.contradict("creates_with_a_mode", str(refused.strerror))
            elif not await _tried(
                lambda: self._closed(opening(self._path(b"new3"), NEW & ~OpenFlags.EXCLUSIVE).wait)
            ):
                self._traits.contradict("takes_exclusive", str(refused.strerror))
        path = await self._file(b"there")
        if not await _tried(lambda: self._closed(opening(path, NEW).wait)):
            left = len(await self._content(path))
            emptied = "kept" if left == len(CONTENT) else "emptied"
            self._traits.contradict("honours_exclusive", f"a file that was there was opened, and {emptied}")

    async def _closed(self, opened: Callable[[], Awaitable[bytes]]) -> None:
        """Close the handle it gives."""
        self._session.start_close(await opened())

    async def _handles(self) -> None:
        paths = [await self._file(name) for name in (b"one", b"two", b"three")]
        handles: list[bytes] = []
        try:
            for path in paths:
                opened = self._session.start_open(path, OpenFlags.READ)
                refused = await _tried(opened.wait)
                if refused:
                    self._traits.contradict("opens_several", str(refused.strerror))
                    return
                handles.append(opened.result())
            if len(set(handles)) < len(handles):
                self._traits.contradict("gives_each_handle_once", "two files open at once were given one")
        finally:
            for handle in set(handles):
                self._session.start_close(handle)

    async def _writing(self) -> None:
        session = self._session
        new = await session.start_open(self._path(b"holes"), NEW).wait()
        refused = await _tried(session.start_write(new, 10, b"behind").wait)
        refused = refused or await _tried(session.start_write(new, 0, b"before").wait)
        await _tried(session.start_close(new).wait)
        if refused:
            self._traits.contradict("writes_in_any_order", str(refused.strerror))
        path = await self._file(b"part")
        handle = await session.start_open(path, OpenFlags.WRITE).wait()
        await _tried(session.start_write(handle, 5, b"WAS").wait)
        await _tried(session.start_close(handle).wait)
        if await self._content(path) != CONTENT[:5] + b"WAS" + CONTENT[8:]:
            self._traits.contradict("writes_anywhere", "a write into a file did not leave the rest")
        path = await self._file(b"log")
        opened = session.start_open(path, OpenFlags.WRITE | OpenFlags.APPEND)
        refused = await _tried(opened.wait)
        if refused:
            self._traits.contradict("appends", str(refused.strerror))
            return
        await _tried(session.start_write(opened.result(), 0, b"!").wait)
        await _tried(session.start_close(opened.result()).wait)
        if await self._content(path) != CONTENT + b"!":
            self._traits.contradict("appends", "what was appended is elsewhere")

    async def _renaming(self) -> None:
        old, new = await self._file(b"old", b"old"), await self._file(b"taken", b"taken")
        if not await _tried(self._session.start_rename(old, new).wait):
            self._traits.contradict("rename_keeps_what_is_there", "a file was replaced by a plain RENAME")

    async def _links(self) -> None:
        target, link = self._path(b"target"), self._path(b"link")
        await self._session.start_symlink(target, link).wait()
        led = self._session.start_readlink(target)
        if not await _tried(led.wait) and led.result() == link:
            self._traits.contradict("takes_symlink_target_first", "a link was made the other way round")
        elif not stat.S_ISLNK((await self._session.start_lstat(link).wait()).mode):
            self._traits.contradict("answers_lstat", "LSTAT told what a link leads to")
            self._traits.contradict("renames_links", "LSTAT told what a link leads to")
        await _tried(self._session.start_symlink(b"relative", self._path(b"link2")).wait)
        led = self._session.start_readlink(self._path(b"link2"))
        if not await _tried(led.wait) and led.result() != b"relative":
            self._traits.contradict("keeps_link_targets", "a relative target was made another")

    async def _attributes(self) -> None:
        session, traits = self._session, self._traits
        path = await self._file(b"set")
        for trait, change, shows in (
            (
                "sets_modes",
                AttributeChange(mode=0o604),
                lambda now: stat.S_IMODE(now.mode) == 0o604,
            ),
            (
                "sets_times",
                AttributeChange(atime=LONG_AGO, mtime=LONG_AGO),
                lambda now: now.mtime == LONG_AGO,
            ),
            ("sets_sizes", AttributeChange(size=8), lambda now: now.size == 8),
        ):
            refused = await _tried(session.start_setstat(path, change).wait)
            if refused or not shows(await session.start_stat(path).wait()):
                traits.contradict(trait, str(refused.strerror) if refused else "nothing came of it")
        if "sets_sizes" not in traits.contradicted and await self._content(path) != CONTENT[:8]:
            traits.contradict("resizes_in_place", "what was before the new end is gone")
        handle = await session.start_open(path, OpenFlags.WRITE).wait()
        try:
            for trait, asked in (
                ("sets_by_handle", session.start_fsetstat(handle, AttributeChange(mode=0o600)).wait),
                ("answers_fstat", session.start_fstat(handle).wait),
            ):
                refused = await _tried(asked)
                if refused:
                    traits.contradict(trait, str(refused.strerror))
        finally:
            session.start_close(handle)

    async def _case(self) -> None:
        await self._file(b"case")
        if not await _tried(self._session.start_stat(os.path.join(self._top, b"CASE")).wait):
            self._traits.contradict("keeps_case_apart", "a file was found by its name in capitals")


async def _tried(request: Callable[[], Awaitable[object]]) -> OSError | None:
    """The error of ``request``, or None if it succeeds. Raises if the session is lost."""
    try:
        await request()
    except SessionLostError:
        raise
    except OSError as failed:
        return failed
    return None
