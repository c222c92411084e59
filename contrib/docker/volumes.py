"""The volumes of the Docker volume plugin: what there are, who uses them, and their mounts.

Owns the state's file and what Docker's options mean. Knows nothing of HTTP.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sftpfs

BOOT = "/proc/sys/kernel/random/boot_id"

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
"""Docker's own rule; a volume's name is the name of its directories here."""
KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/=]+")
"""``type base64`` of a host key."""

SECRETS = ("password", "passphrase")
"""Refused as options: Docker shows a volume's options to whoever asks."""

log = logging.getLogger("sftpfs-volumes")

Values = dict[str, Any]


class VolumeError(Exception):
    """A request that cannot be met; Docker prints its text."""


@dataclass
class Volume:
    """One volume. INVARIANT: ``users`` are the ids Docker has mounted it for and not unmounted."""

    server: str
    options: dict[str, str]
    created: str
    host_key: str = ""
    password_file: str = ""
    users: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    """Held while it is mounted or unmounted: of one volume one thing at a time, of several many."""

    def stored(self) -> Values:
        """Its form in the state file."""
        return {name: value for name, value in vars(self).items() if name != "lock"}


class State:
    """The volumes, and their file: written anew as a whole with every change, so that it is never half.

    Whoever changes ``volumes`` or a volume's users holds ``lock``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.volumes: dict[str, Volume] = {}
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            sys.exit(f"volume_plugin: cannot read {path}: {error}")
        for name, values in kept["volumes"].items():
            self.volumes[name] = Volume(**values)
            if kept["boot"] != boot():
                self.volumes[name].users = []  # no container outlived that

    def save(self) -> None:
        """Raises OSError; the file then stays as it was."""
        volumes = {name: volume.stored() for name, volume in self.volumes.items()}
        text = json.dumps({"boot": boot(), "volumes": volumes}, indent=1)
        new = self.path.with_suffix(".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    @contextlib.contextmanager
    def changed(self) -> Iterator[None]:
        """A change that is made, and then saved."""
        with self.lock:
            yield
            self.save()


def boot() -> str:
    """Identifies this start of the machine."""
    return Path(BOOT).read_text(encoding="ascii").strip()


def is_mounted(path: Path) -> bool:
    """Whether there is a mount that answers. sftpfs mounts over one whose process is gone."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        if not any(line.split(" ")[4] == str(path) for line in file):
            return False
    try:
        os.stat(path)
    except OSError as error:
        return error.errno not in (errno.ENOTCONN, errno.ECONNABORTED)
    return True


class Volumes:
    """The requests: one method for each request of the protocol that is about volumes."""

    def __init__(self, directory: Path, state: Path) -> None:
        self._mounts = directory / "mounts"
        self._keys = directory / "keys"
        for path in (directory, self._mounts, self._keys, state):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state = State(state / "sftpfs-volumes.json")

    def path(self, name: str) -> Path:
        """Where a volume is mounted."""
        return self._mounts / name

    def _volume(self, name: str) -> Volume:
        with self._state.lock:
            if name not in self._state.volumes:
                raise VolumeError(f"there is no volume {name} of sftpfs")
            return self._state.volumes[name]

    @contextlib.contextmanager
    def _held(self, name: str) -> Iterator[Volume]:
        """The volume, its lock held. Raises VolumeError."""
        volume = self._volume(name)
        with volume.lock:
            if self._volume(name) is not volume:
                raise VolumeError(f"volume {name} was removed and created again; try again")
            yield volume

    def create(self, name: str, options: dict[str, str]) -> None:
        """A volume; the server is asked when it is first mounted."""
        if not NAME.fullmatch(name):
            raise VolumeError(f"a volume cannot be called {name!r}")
        volume = volume_of(options)
        with self._state.changed():
            there = self._state.volumes.get(name)
            if there is not None and there.stored() | {"users": [], "created": ""} != (
                volume.stored() | {"created": ""}
            ):
                raise VolumeError(f"there is a volume {name} already, with other options")
            self._state.volumes.setdefault(name, volume)

    def remove(self, name: str) -> None:
        """The volume is forgotten; what is on the server stays there."""
        # Ids of a dockerd that was killed are of no use any more; who really is inside keeps it mounted.
        with self._held(name) as volume:
            self._take_off(name, volume)
            with self._state.changed():
                self._state.volumes.pop(name, None)
            (self._keys / name).unlink(missing_ok=True)

    def mount(self, name: str, user: str) -> Path:
        """Mounted, once for all of its users."""
        with self._held(name) as volume:
            self._have_mounted(name, volume)
            with self._state.changed():
                if user not in volume.users:
                    volume.users.append(user)
        return self.path(name)

    def unmount(self, name: str, user: str) -> None:
        """After its last user everything is brought to the server and it is unmounted."""
        with self._held(name) as volume:
            with self._state.changed():
                volume.users = [other for other in volume.users if other != user]
            if not volume.users:
                self._take_off(name, volume)

    def described(self, name: str) -> Values:
        """The form in which the protocol reports a volume."""
        volume = self._volume(name)
        return {
            "Name": name,
            "Mountpoint": str(self.path(name)) if volume.users else "",
            "CreatedAt": volume.created,
            "Status": {"server": volume.server, "users": len(volume.users)},
        }

    def names(self) -> list[str]:
        """Of all volumes."""
        with self._state.lock:
            return sorted(self._state.volumes)

    def resume(self) -> None:
        """After a start: mounts what is in use. A failure is logged, and tried again with the next use."""
        for name in self.names():
            try:
                with self._held(name) as volume:
                    if volume.users:
                        self._have_mounted(name, volume)
            except VolumeError as error:
                log.error("volume %s: %s", name, error)

    def take_all_off(self) -> None:
        """Used if the mounts' processes end with this one."""
        for name in self.names():
            try:
                with self._held(name) as volume:
                    self._take_off(name, volume)
            except VolumeError as error:
                log.error("volume %s: %s", name, error)

    def _mount_of(self, name: str, volume: Volume) -> sftpfs.MountedDirectory:
        options: dict[str, str | bool] = {"allow_other": True}
        options |= {option: value or True for option, value in volume.options.items()}
        options.setdefault("StrictHostKeyChecking", "yes")
        if volume.host_key:
            known = self._keys / name
            known.write_text(f"{name} {volume.host_key}\n", encoding="utf-8")
            options |= {"UserKnownHostsFile": str(known), "GlobalKnownHostsFile": "/dev/null"}
            options["HostKeyAlias"] = name
        password = None
        if volume.password_file:
            try:
                password = Path(volume.password_file).read_text(encoding="utf-8").rstrip("\n")
            except OSError as error:
                raise VolumeError(f"cannot read {volume.password_file}: {error.strerror}") from None
        return sftpfs.mounted(volume.server, self.path(name), password=password, **options)

    def _have_mounted(self, name: str, volume: Volume) -> None:
        path = self.path(name)
        if is_mounted(path):
            return
        with contextlib.suppress(FileExistsError):
            path.mkdir()
        try:
            self._mount_of(name, volume).mount()
        except sftpfs.MountError as error:
            raise VolumeError(str(error)) from None
        log.info("volume %s: mounted %s", name, volume.server)

    def _take_off(self, name: str, volume: Volume) -> None:
        path = self.path(name)
        if not is_mounted(path):
            return
        try:
            sftpfs.mounted(volume.server, path).unmount()
        except sftpfs.MountError as error:
            raise VolumeError(str(error)) from None
        log.info("volume %s: unmounted", name)


def volume_of(options: dict[str, str]) -> Volume:
    """A volume as ``docker volume create -o`` describes it. Raises VolumeError."""
    rest = dict(options)
    for name in rest:
        if name.lower() in SECRETS:
            raise VolumeError(
                f"option {name} would be shown by docker volume inspect: put it into a file that only root "
                "may read, and give password_file=FILE"
            )
    server = rest.pop("server", "")
    if not server:
        raise VolumeError("name a server: -o server=[user@]host:[directory]")
    host_key = rest.pop("host_key", "")
    if host_key and not KEY.fullmatch(host_key):
        raise VolumeError("host_key must be a type and a key, as in ssh-ed25519 AAAA...")
    password_file = rest.pop("password_file", "")
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Volume(server, rest, created, host_key, password_file)
