"""Mounts for Python programs: ``sftpfs.mounted``.

Owns how a program's keywords become words of the command, and how the command's output becomes an exception.
The command does the work, in its own processes: nothing of FUSE or SSH is loaded into the program's. ``import
sftpfs`` does not load this module; its first use does.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from sftpfs.errors import Failure, MountError
from sftpfs.host.daemon import DATA_LOST_STATUS, INTERRUPTED_STATUS
from sftpfs.host.mountpoint import mounted_at
from sftpfs.library.any_loop import in_thread

Value: TypeAlias = str | int | float | os.PathLike[str]
OptionValue: TypeAlias = bool | Value | Sequence[Value] | None
"""What an option may be given as; see ``mounted``."""

PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = (
    "import sys; path = sys.argv.pop(1); path in sys.path or sys.path.insert(0, path); "
    "from sftpfs.__main__ import main; sys.exit(main())"
)
"""The command, of the package this module is of, wherever the program that imported it found it."""

STOP_LIMIT = 15.0
"""Seconds the command has to leave nothing behind once it is to end; then it is killed."""

STAYS = "stays mounted; "
"""Words in the line of ``sftpfs umount`` that are no longer true once ``--force`` took the mount off."""

log = logging.getLogger("sftpfs.library.mounted")


class DataLostError(MountError):
    """The mount is off, and something that was written is not on the server.

    The message has a line for each file, with where its bytes are kept. ``sftpfs restore`` writes them back
    through another mount of the same directory.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Failure.COMMAND, message)


def mounted(
    server: str,
    mountpoint: str | os.PathLike[str] | None = None,
    *,
    password: str | None = None,
    **options: OptionValue,
) -> MountedDirectory:
    """A mount of ``server`` for a block: ``with`` and ``async with`` (asyncio, trio) give its Path.

        with sftpfs.mounted("joe@host:data", IdentityFile="~/.ssh/id_ed25519", ro=True) as data:
            print((data / "results.csv").read_text())

    ``server`` is ``[user@]host:[directory]`` or an ``sftp://`` URL. ``mountpoint`` is an existing directory;
    None makes one for the duration of the block. The mount is ready when the block begins. When it ends,
    everything written is brought to the server, however long that takes, and the mount is taken off.

    ``options`` are those of ``sftpfs -o``, including ssh_config's keywords. True gives the bare word (for a
    keyword of ssh_config ``yes``). False gives its opposite if it has one, and otherwise leaves it out, as
    None does. A sequence gives the option once for each item. Options can be seen in the list of processes;
    ``password`` cannot. It answers the server's question for one. Nobody is asked anything: without a
    password, log in by a key or the agent, and have the server's key in known_hosts.

    Raises MountError if the command line would fail: its text is what the command would print, its
    ``failure`` says which kind it is. At the end of the block it raises DataLostError if the server did not
    take something, and MountError(MOUNTPOINT) if a program still uses the mount. The mount then stays: close
    your files, and call ``unmount``. A program that is killed leaves its mount, which ``sftpfs umount`` ends.

    Files in the mount block their user, as any file does: in an event loop use them in threads. A cancelled
    task gives up the mount that it waits for; the end of a block is waited for all the same.
    """
    return MountedDirectory(server, mountpoint, option_words(options), password)


class MountedDirectory:
    """What ``mounted`` returns: a mount to be made. ``mount`` and ``unmount`` do by hand what a block does.

    For one thread or task at a time. INVARIANT: ``_made`` is a directory to be removed when the mount is off.
    """

    def __init__(
        self,
        server: str,
        mountpoint: str | os.PathLike[str] | None,
        words: Sequence[str],
        password: str | None,
    ) -> None:
        self._server = server
        self._mountpoint = None if mountpoint is None else os.path.abspath(mountpoint)
        self._words = list(words)
        self._password = password
        self._made: str | None = None
        self._run = _Run()
        self._is_mounted = False

    def mount(self) -> Path:
        """Mounts, and waits until the mount is ready. Returns where. Raises MountError; then nothing is
        mounted."""
        path = self._mountpoint
        if path is None:
            path = self._made = tempfile.mkdtemp(prefix="sftpfs-")
        words = list(self._words)
        if self._password is not None:
            words += ["-o", "password_stdin"]
        try:
            status, lines = self._run.of([*words, "--", self._server, path], self._password)
            if status:
                raise _error(status, lines)
        except BaseException:
            self._remove_made()
            raise
        self._is_mounted = True
        for line in lines:
            log.warning("%s", line)
        return Path(path)

    def unmount(self) -> None:
        """Brings everything to the server, then unmounts. Raises DataLostError, and MountError if the mount
        stays."""
        path = self._made or self._mountpoint
        if path is None:
            raise MountError(Failure.MOUNTPOINT, f"{self._server} is not mounted")
        status, lines = _Run().of(["umount", "--", path])
        if status == DATA_LOST_STATUS:
            # Everything has been tried; only the mount stays.
            status, more = _Run().of(["umount", "--force", "--", path])
            lines = [line for line in dict.fromkeys([*lines, *more]) if STAYS not in line]
            if status in (0, DATA_LOST_STATUS):
                self._forget()
                raise DataLostError("\n".join(lines))
        if status:
            if mounted_at(path) is None:  # somebody else took it off
                self._forget()
            raise _error(status, lines)
        self._forget()

    def _forget(self) -> None:
        self._is_mounted = False
        self._remove_made()

    def _remove_made(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            os.rmdir(made)

    def __enter__(self) -> Path:
        return self.mount()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.unmount()

    async def __aenter__(self) -> Path:
        self._run = _Run()
        try:
            return await in_thread(self.mount, self._run.stop)
        except BaseException:
            if self._is_mounted:  # as it was cancelled
                await in_thread(self.unmount)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await in_thread(self.unmount)


class _Run:
    """One run of the command, which another thread may stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def of(self, words: Sequence[str], answer: str | None = None) -> tuple[int, list[str]]:
        """Its status, and the lines it told; ``answer`` is its standard input. Raises MountError."""
        with self._lock:
            if self._stopped:
                return INTERRUPTED_STATUS, ["interrupted"]
            self._process = process = _started(words, answer is not None)
        try:
            stderr = process.communicate(None if answer is None else answer + "\n")[1]
        except BaseException:
            self.stop()
            _ended(process)
            raise
        return process.returncode, [line.removeprefix("sftpfs: ") for line in stderr.splitlines()]

    def stop(self) -> None:
        """Makes it end soon, with nothing left behind. It need not have begun."""
        with self._lock:
            self._stopped = True
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()


def _started(words: Sequence[str], has_input: bool) -> subprocess.Popen[str]:
    # A session of its own: no terminal to ask on, and Ctrl-C is the program's to pass on.
    environment = {**os.environ}
    environment.setdefault("SSH_ASKPASS_REQUIRE", "never")
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, PACKAGE_PARENT, *words],
            stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            env=environment,
            start_new_session=True,
        )
    except OSError as problem:
        raise MountError(Failure.COMMAND, f"cannot run {sys.executable}: {problem.strerror}") from None


def _ended(process: subprocess.Popen[str]) -> None:
    try:
        process.communicate(timeout=STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _error(status: int, lines: list[str]) -> MountError:
    message = "\n".join(lines) or f"the command ended with status {status}"
    if status == INTERRUPTED_STATUS:
        return MountError(Failure.INTERRUPTED, message)
    known = {failure.value: failure for failure in Failure}
    return MountError(known.get(status, Failure.COMMAND), message)


def option_words(options: dict[str, OptionValue]) -> list[str]:
    """``options`` as the command takes them, each behind a ``-o`` of its own. Pure."""
    words = []
    for name, value in options.items():
        for item in _items(name, value):
            words += ["-o", item.replace("\\", "\\\\").replace(",", "\\,")]
    return words


def _items(name: str, value: OptionValue) -> Iterator[str]:
    # Imported here, because the table of options is only needed if options are given.
    from sftpfs.cli.options.ssh_keywords import SSH_KEYWORDS
    from sftpfs.cli.options.table import BY_NAME

    if value is None:
        return
    if isinstance(value, bool):
        if name.lower() in SSH_KEYWORDS and name not in BY_NAME:
            yield f"{name}={'yes' if value else 'no'}"
        elif value:
            yield name
        elif opposite := [other for other in (f"no_{name}", f"no{name}") if other in BY_NAME]:
            yield opposite[0]
        elif name not in BY_NAME or BY_NAME[name].constant is False:
            yield f"{name}=no"  # which the command refuses: nothing that was asked for is passed over
    elif isinstance(value, str | int | float | os.PathLike):
        yield f"{name}={os.fspath(value) if isinstance(value, os.PathLike) else value}"
    else:
        for one in value:
            yield from _items(name, one)
