"""Hands what is new in a mount to that mount: directories, links and small files (``cli.copy.way`` says
which).

Owns the connections to mounts, one for each, and knows what an answer means to a copy. Used by many threads.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Sequence

from sftpfs.cli.copy import way
from sftpfs.cli.copy.content import SmallFile
from sftpfs.cli.copy.directories import Directory, DirectoryPair, Taker
from sftpfs.cli.copy.offload import CopyOffload, StoppedError
from sftpfs.cli.copy.target import PRIVATE, CopyError, File, Preserve
from sftpfs.cli.copy.tree_stream import Answer, Answered, TreeStream, open_stream
from sftpfs.control import tree_records
from sftpfs.control.tree_records import DIRECTORY, FILE, LINK, Record

NO_NAMES = ("", ".", "..")
"""A destination that is a directory by itself: there is nothing to make."""


class HandOver:
    """See the module. One object for each run."""

    def __init__(self, server: CopyOffload, kept: Preserve, *, recursive: bool) -> None:
        self._server = server
        self._owners = kept.owners
        self._recursive = recursive
        self._lock = threading.Lock()
        self._streams: dict[int, TreeStream | None] = {}
        """By device number."""
        self._withdrawn = False
        self._umask = os.umask(0o077)
        os.umask(self._umask)

    def taker(self, source: os.stat_result, target: int) -> Taker | None:
        """Who takes what is copied from directory ``source`` to the open directory ``target``; None if it
        goes through the kernel."""
        there = os.fstat(target)
        if not way.hands_over_in(
            recursive=self._recursive,
            from_a_mount=self._server.serves(source.st_dev),
            to_a_mount=self._server.serves(there.st_dev),
            may_write=os.access(".", os.W_OK | os.X_OK, dir_fd=target),
        ):
            return None
        stream = self._stream(there.st_dev)
        return None if stream is None else Taker(stream, there.st_ino)

    def directories(self, wanted: Sequence[Directory]) -> dict[Directory, bool | OSError]:
        """Makes those of ``wanted`` whose parents have a taker, all at once. For each: whether it was made
        (else its name was taken), or why not. What is left out must go through the kernel."""
        answers: dict[Directory, Answer | None] = {}
        ended = threading.Semaphore(0)

        def waiting(directory: Directory) -> Answered:
            def answered(answer: Answer | None) -> None:
                answers[directory] = answer
                ended.release()

            return answered

        sent = 0
        for directory in wanted:
            parent, found = directory.parent, directory.found
            assert parent is not None and found is not None
            if parent.taker is not None and directory.target not in NO_NAMES:
                mode = (0o700 | self._shown(found)) & ~self._umask
                record = Record(0, DIRECTORY, parent.taker.number, os.fsencode(directory.target), mode)
                parent.taker.stream.send(record, b"", waiting(directory))
                sent += 1
        for _ in range(sent):
            ended.acquire()
        known = {one: answer for one, answer in answers.items() if answer is not None}
        return {one: _made(answer) for one, answer in known.items() if answer.errno != errno.ESTALE}

    def file(self, file: File, taker: Taker, small: SmallFile, answered: Answered) -> None:
        """Hands over a file with its content."""
        found = small.before
        mode = (PRIVATE | self._shown(found)) & ~self._umask
        record = Record(0, FILE, taker.number, os.fsencode(file.target), mode, keep=_keep(found))
        taker.stream.send(record._replace(owner=self._owner(found)), small.content, answered)

    def link(self, file: File, taker: Taker, leads: str, answered: Answered) -> None:
        """Hands over a link."""
        record = Record(0, LINK, taker.number, os.fsencode(file.target), target=os.fsencode(leads))
        owned = record._replace(keep=_keep(file.found), owner=self._owner(file.found))
        taker.stream.send(owned, b"", answered)

    def finish(self) -> None:
        """Everything handed over was answered: ends the connections."""
        for stream in list(self._streams.values()):
            if stream is not None:
                stream.finish()

    def withdraw(self) -> None:
        """What is not made yet is no longer wanted; everything handed over is answered soon."""
        with self._lock:
            self._withdrawn = True
            streams = list(self._streams.values())
        for stream in streams:
            if stream is not None:
                stream.withdraw()

    def _stream(self, device: int) -> TreeStream | None:
        with self._lock:
            if device not in self._streams and not self._withdrawn:
                mount = self._server.mount(device)
                self._streams[device] = None if mount is None else open_stream(mount)
            return self._streams.get(device)

    def _shown(self, found: os.stat_result) -> int:
        """The permission that others have before all is there."""
        return 0 if self._owners else stat.S_IMODE(found.st_mode) & 0o777

    def _owner(self, found: os.stat_result) -> tuple[int, int] | None:
        return (found.st_uid, found.st_gid) if self._owners else None


def goes_again(answer: Answer | None) -> bool:
    """Whether the kernel's way decides. (A part that was made is gone again, or the error another.)"""
    return answer is None or (answer.errno in way.AGAIN and answer.outcome == tree_records.REFUSED)


def check(file: File, answer: Answer) -> bool:
    """Whether the copy ``file`` still has to get mode, times and owner. Raises CopyError or StoppedError if
    there is no copy."""
    if not answer.errno:
        return answer.outcome == tree_records.BARE
    if answer.errno == errno.ECANCELED and answer.outcome != tree_records.LEFT:
        raise StoppedError
    problem = OSError(answer.errno, os.strerror(answer.errno))
    link = stat.S_ISLNK(file.found.st_mode)
    if answer.outcome == tree_records.REFUSED:
        what = "symbolic link" if link else "regular file"
        raise CopyError(problem, f"cannot create {what} '{file.target_path}'")
    if answer.outcome == tree_records.LEFT:
        left = f"what there is of '{file.target_path}' could not be removed"
        raise CopyError(answer.errno, f"error writing '{file.target_path}': {problem.strerror}; {left}")
    raise CopyError(problem, f"error writing '{file.target_path}'")


def opened(file: File, pair: DirectoryPair) -> int:
    """A descriptor of the copy, by which it gets what it is to keep. Raises OSError."""
    return os.open(file.target, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=pair.target)


def _made(answer: Answer) -> bool | OSError:
    if answer.errno == errno.EEXIST:
        return False
    return OSError(answer.errno, os.strerror(answer.errno)) if answer.errno else True


def _keep(found: os.stat_result) -> tuple[int, int, int]:
    return stat.S_IMODE(found.st_mode), found.st_atime_ns, found.st_mtime_ns
