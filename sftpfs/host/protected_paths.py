"""What no mount may cover: what the machine, and the mount itself, cannot do without.

A mount over /dev or /proc, or over the program that serves it, would make its own process ask itself, and
make the machine run a server's programs. The composition root asks this before the mount; nothing is changed.
Files in the directory that are only read (keys, known_hosts) are no obstacle: see
``sftpfs.host.covered_files``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys

from sftpfs.config import MountConfig, TransportKind
from sftpfs.errors import Failure, MountError
from sftpfs.host.account import in_home

SYSTEM = ("/", "/dev", "/etc", "/proc", "/sys")
"""Nothing works without these, including this program: over /etc it would ask itself for names and never end.
"""

LIBRARIES = ("trio", "pyfuse3", "asyncssh", "uvloop")
"""Loaded by a process of the mount, perhaps later than the mount."""


def check(config: MountConfig) -> None:
    """Raises MountError(MOUNTPOINT) if ``config`` would hide what is needed."""
    path = config.mountpoint
    if path in SYSTEM or is_below(path, "/proc"):  # /proc/self would be gone with the command
        raise MountError(
            Failure.MOUNTPOINT,
            f"a mount on {path} would hide what this machine needs to work; choose another directory",
        )
    for what, where in needs(config):
        if is_below(os.path.realpath(where), path):
            raise MountError(
                Failure.MOUNTPOINT,
                f"a mount on {path} would hide {what} ({where}), which the mount needs; "
                "choose another directory",
            )


def _mapped() -> set[str]:
    """The directories of what this process was started from: the loader and the system's libraries too."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        paths = {line.rstrip("\n").partition(" /")[2] for line in file}
    return {os.path.dirname(f"/{path}") for path in paths if ".so" in path}


def is_below(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or in it. Both are absolute, without links."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def needs(config: MountConfig) -> list[tuple[str, str]]:
    """(for a person, path) of what is started or loaded, perhaps while the mount is there."""
    found = [("sftpfs itself", os.path.dirname(os.path.dirname(__file__)))]
    found += [("the Python it runs on", where) for where in {sys.executable, sys.prefix, os.__file__}]
    for name in LIBRARIES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found.append((f"its library {name}", os.path.dirname(spec.origin)))
    found += [("a library it runs on", where) for where in _mapped()]
    if os.geteuid():
        found.append(("what unmounts it", shutil.which("fusermount3") or ""))
    if config.transport.kind is TransportKind.COMMAND:
        # The program reads them by their names, at each connection.
        found.append(("the program that connects", shutil.which(config.transport.ssh_command[0]) or ""))
        found.append(("ssh's configuration and keys", in_home("~/.ssh")))
        found.append(("ssh's configuration", config.transport.ssh_config_file or ""))
        for keyword, value in config.transport.ssh_options:
            if keyword.lower() in ("identityfile", "userknownhostsfile", "certificatefile"):
                found += [(f"the file of {keyword}", in_home(word)) for word in value.split()]
    return [(what, os.path.abspath(where)) for what, where in found if where not in ("", "none")]
