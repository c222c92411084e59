"""The content of a bug report: facts about this machine and about mounts, as texts.

Makes no connection to a server. Asks mounts through their control sockets, and describes one that gives no
answer from outside.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from sftpfs import __version__
from sftpfs.cli.run.log import shown
from sftpfs.cli.run.stats import as_json
from sftpfs.cli.run.status import describe
from sftpfs.cli.tools.redaction import options_of, redacted, without_secrets
from sftpfs.control.client import Client, connect
from sftpfs.doctor.machine_checks import examine_machine
from sftpfs.errors import MountError
from sftpfs.host.mountpoint import MountedAt

LIBRARIES = ("pyfuse3", "trio", "asyncssh", "cryptography", "uvloop", "cachetools", "rich")

PROGRAMS = (("fusermount3", "--version"), ("ssh", "-V"))

PROGRAM_LIMIT = 5.0
"""Seconds that a program has to print its version."""

PATIENCE = 10.0
"""Seconds that a mount has to answer a quick request. A mount that gave no answer is asked nothing more."""

SILENT = "silent.txt"
"""Says why a mount gave no answer."""

STATS = "stats.json"
"""Secrets are removed from its texts before they become JSON, which must stay valid."""

MOUNTINFO = "/proc/self/mountinfo"

PROCESS_FIELDS = ("State", "Threads", "VmRSS", "VmPeak", "FDSize", "Uid")
"""Of /proc/PID/status."""


def versions() -> str:
    """Of sftpfs, Python, the libraries, the kernel, and the programs of FUSE and OpenSSH."""
    system = platform.uname()
    lines = [
        f"sftpfs {__version__}",
        f"Python {platform.python_version()} {sys.executable}",
        *(f"{name} {_library(name)}" for name in LIBRARIES),
        f"kernel {system.system} {system.release} {system.version} {system.machine}",
    ]
    with suppress(OSError):
        lines.append(f"system {platform.freedesktop_os_release().get('PRETTY_NAME', 'not told')}")
    lines += [f"{name}: {_program(name, flag)}" for name, flag in PROGRAMS]
    return "\n".join(lines) + "\n"


def _library(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "is not installed"


def _program(name: str, flag: str) -> str:
    path = shutil.which(name)
    if path is None:
        return "is not installed"
    try:
        done = subprocess.run(
            [path, flag],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROGRAM_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"{path} tells no version: {problem}"
    return f"{done.stdout.decode(errors='replace').strip()} ({path})"


def machine() -> str:
    """What doctor finds on this machine."""
    return redacted("\n".join(line for finding in examine_machine() for line in finding.lines()) + "\n")


def of_mount(mount: MountedAt) -> dict[str, str]:
    """File name → text about one mount. If it gives no answer, ``SILENT`` says so."""
    texts = {"mountinfo.txt": _mountinfo(mount)}
    secrets: set[str] = set()
    try:
        with connect(mount, PATIENCE) as client:
            options, secrets = _options(client.pid)
            texts["options.txt"] = "\n".join(options) + "\n"
            texts["process.txt"] = _process(client.pid)
            texts.update(_answers(client, secrets))
    except MountError as problem:
        texts[SILENT] = f"{problem.message}\n"
    return {name: text if name == STATS else redacted(text, secrets) for name, text in texts.items()}


def _answers(client: Client, secrets: set[str]) -> dict[str, str]:
    """What the mount reports of itself. Raises MountError."""
    status = {name: without_secrets(value, secrets) for name, value in client.ask("status").items()}
    with connect(client.mount, PATIENCE) as another:
        lines = another.ask("recent").get("lines", [])
    return {
        "status.txt": describe(status) + "\n",
        STATS: as_json([status]) + "\n",
        "log.txt": "".join(f"{shown(line)}\n" for line in lines),
    }


def _options(pid: int) -> tuple[list[str], set[str]]:
    """How the mount was made: the words after the program and its module's name, as ``options_of``."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")[:-1]
    except OSError as problem:
        return [f"the command line cannot be read: {problem.strerror}"], set()
    return options_of(_after_program(words))


def _after_program(words: list[str]) -> list[str]:
    """Without ``python -m sftpfs``, ``python /usr/bin/sftpfs`` or ``mount.sftpfs``."""
    if words and os.path.basename(words[0]).startswith("python"):
        del words[0]
        while words and words[0].startswith("-") and words[0] != "-m":
            del words[0]
        if words and words[0] == "-m":
            del words[0]
    return words[1:]


def _process(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
        wait = Path(f"/proc/{pid}/wchan").read_text()
    except OSError as problem:
        return f"process {pid} cannot be looked at: {problem.strerror}\n"
    kept = [line for line in text.splitlines() if line.partition(":")[0] in PROCESS_FIELDS]
    return "\n".join([f"Pid:\t{pid}", *kept, f"Waits in:\t{wait}"]) + "\n"


def _mountinfo(mount: MountedAt) -> str:
    with open(MOUNTINFO, encoding="utf-8", errors="surrogateescape") as file:
        lines = [line for line in file if line.split()[2:3] == [mount.device]]
    return "".join(lines)
