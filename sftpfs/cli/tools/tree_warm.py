"""Fetches a tree ahead by reading it through the mount: the mount and the kernel keep what passes.

Uses many threads, since each waits for a round trip most of the time. Owns the counts; shows nothing.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

THREADS = 16
"""Directories and files at once: what the mount asks for ahead of each adds to it."""

BLOCK = 1 << 20
"""Bytes a read(2) asks for."""


class TreeWarm:
    """One run over some paths. The counters may be read while it runs.

    INVARIANT: ``_pending`` counts what is submitted and not finished; ``finished`` is set at 0.
    """

    def __init__(self) -> None:
        self.files_found = self.files_done = 0
        self.bytes_found = self.bytes_done = 0
        self.directories_found = self.directories_done = 0
        self.problems: list[tuple[str, OSError]] = []
        self.finished = threading.Event()
        self._pending = 0
        self._lock = threading.Lock()
        self._stopped = False
        self._pool = ThreadPoolExecutor(THREADS)

    def start(self, paths: list[str]) -> None:
        """Begin; once."""
        with self._lock:
            self._pending += 1
        for path in paths:
            self._submit(self._visit, path)
        self._leave()

    def stop(self) -> None:
        """End soon, done or not, and wait for the threads."""
        self._stopped = True
        self._pool.shutdown(cancel_futures=True)

    @property
    def listed(self) -> bool:
        """Every directory is: what was found is all there is."""
        return self.directories_found == self.directories_done

    def _submit(self, work: Callable[..., None], path: str, *more: int) -> None:
        with self._lock:
            self._pending += 1
        self._pool.submit(self._run, work, path, *more)

    def _leave(self) -> None:
        with self._lock:
            self._pending -= 1
            if not self._pending:
                self.finished.set()

    def _run(self, work: Callable[..., None], path: str, *more: int) -> None:
        try:
            if not self._stopped:
                work(path, *more)
        except OSError as error:
            with self._lock:
                self.problems.append((path, error))
        except RuntimeError:
            pass  # the pool takes nothing more: stopped
        finally:
            self._leave()

    def _visit(self, path: str) -> None:
        """A path that was named; if it is a link, it is followed."""
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            self._found_directory(path, found.st_dev)
        elif stat.S_ISREG(found.st_mode):
            self._found_file(path, found.st_size)

    def _found_directory(self, path: str, device: int) -> None:
        with self._lock:
            self.directories_found += 1
        self._submit(self._list, path, device)

    def _found_file(self, path: str, size: int) -> None:
        with self._lock:
            self.files_found += 1
            self.bytes_found += size
        self._submit(self._read, path, size)

    def _list(self, path: str, device: int) -> None:
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(found.st_mode) and found.st_dev == device:
                        self._found_directory(entry.path, device)
                    elif stat.S_ISREG(found.st_mode):
                        self._found_file(entry.path, found.st_size)
        finally:
            with self._lock:
                self.directories_done += 1

    def _read(self, path: str, expected: int) -> None:
        """Reads all of a file. One that grew or shrank counts with the size that it was found with."""
        done = 0
        buffer = bytearray(BLOCK)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                while not self._stopped and (count := os.readv(fd, [buffer])):
                    counted = min(count, expected - done)
                    done += counted
                    with self._lock:
                        self.bytes_done += counted
            finally:
                os.close(fd)
        finally:
            with self._lock:
                self.files_done += 1
                self.bytes_done += expected - done
