"""The Docker volume plugin: Docker's requests over its socket, a real sshd, real mounts."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sftpfs.control.client import connect_to
from tests.harness import processes
from tests.harness.command import environment, say
from tests.harness.mounts import REPOSITORY, mountpoints, unmount_lazily
from tests.harness.waiting import eventually
from tests.sshd import Sshd

PROGRAM = REPOSITORY / "contrib" / "docker" / "volume_plugin.py"
LIMIT = 60.0
FORM = "application/vnd.docker.plugins.v1.2+json"


class Connection(http.client.HTTPConnection):
    """As Docker's client: one connection, kept."""

    def __init__(self, path: Path) -> None:
        super().__init__("plugin", timeout=LIMIT)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(self._path)


class Plugin:
    """The plugin's process, as Docker sees it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "plugins" / "sftpfs.sock"
        self.log = directory / "plugin.log"
        directory.mkdir()
        self.start()

    def start(self, *words: str) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    str(PROGRAM),
                    *("--socket", str(self.socket), "--directory", str(self.directory / "volumes"), *words),
                ],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        eventually(self._answers, LIMIT, "listening")
        self.connection = Connection(self.socket)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.connection.close()
        self.process.send_signal(number)
        self.process.wait(LIMIT)

    def ask(self, what: str, values: object = None, status: int = 200) -> dict[str, Any]:
        body = b"" if values is None else json.dumps(values).encode()
        self.connection.request("POST", f"/{what}", body, {"Accept": FORM, "Content-Type": FORM})
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == status, text
        found: dict[str, Any] = json.loads(text)
        assert bool(found["Err"]) is (status != 200), found
        return found

    def volume(self, what: str, name: str, status: int = 200, **more: object) -> dict[str, Any]:
        return self.ask(f"VolumeDriver.{what}", {"Name": name, **more}, status)


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    running = Plugin(tmp_path / "plugin")
    yield running
    if running.process.poll() is None:
        running.stop()
    for path in [path for path in mountpoints() if path.startswith(str(running.directory))]:
        say("umount", "--force", path)
        unmount_lazily(path)


def options(sshd: Sshd, backing: Path, **more: str) -> dict[str, str]:
    return {
        "server": f"root@127.0.0.1:{backing}",
        "port": str(sshd.port),
        "IdentityFile": str(sshd.client_key),
        "IdentityAgent": "none",
        "ssh_config": "none",
        "host_key": sshd.public_host_key(),
        **more,
    }


def test_the_greeting(plugin: Plugin) -> None:
    assert plugin.ask("Plugin.Activate")["Implements"] == ["VolumeDriver"]
    assert plugin.ask("VolumeDriver.Capabilities")["Capabilities"] == {"Scope": "local"}
    assert plugin.ask("VolumeDriver.List", {})["Volumes"] == []
    assert stat.S_IMODE(plugin.socket.stat().st_mode) == 0o600
    plugin.ask("VolumeDriver.Nonsense", {}, status=404)
    plugin.ask("VolumeDriver.Create", {"Opts": {}}, status=500)
    plugin.ask("VolumeDriver.Create", [1], status=500)


def test_a_volume_from_its_making_to_its_end(plugin: Plugin, sshd: Sshd, backing: Path) -> None:
    (backing / "there").write_text("before")
    given = options(sshd, backing)
    plugin.volume("Create", "data", Opts=given)
    plugin.volume("Create", "data", Opts=given)  # Docker may ask twice
    assert "other options" in plugin.volume("Create", "data", 500, Opts={"server": "elsewhere:"})["Err"]
    assert plugin.volume("Path", "data")["Mountpoint"] == ""

    path = Path(plugin.volume("Mount", "data", ID="one")["Mountpoint"])
    assert (path / "there").read_text() == "before"
    (path / "made").write_text("here")
    assert plugin.volume("Mount", "data", ID="two")["Mountpoint"] == str(path)
    assert plugin.volume("Path", "data")["Mountpoint"] == str(path)
    (told,) = plugin.ask("VolumeDriver.List", {})["Volumes"]
    assert told == plugin.volume("Get", "data")["Volume"]
    assert (told["Name"], told["Mountpoint"], told["Status"]["users"]) == ("data", str(path), 2)

    plugin.volume("Unmount", "data", ID="one")
    assert str(path) in mountpoints()
    plugin.volume("Unmount", "data", ID="one")  # said twice counts once
    assert str(path) in mountpoints()
    plugin.volume("Unmount", "data", ID="two")
    assert str(path) not in mountpoints()
    assert (backing / "made").read_text() == "here"
    plugin.volume("Remove", "data")
    assert "no volume data" in plugin.volume("Get", "data", 500)["Err"]
    assert (backing / "made").exists()


def test_what_cannot_be_a_volume_is_refused(plugin: Plugin, sshd: Sshd, backing: Path) -> None:
    for name in ("../up", "a/b", ".hidden", ""):
        plugin.volume("Create", name, 500, Opts=options(sshd, backing))
    assert "server=" in plugin.volume("Create", "data", 500, Opts={})["Err"]
    secret = plugin.volume("Create", "data", 500, Opts=options(sshd, backing, password="hunter2"))["Err"]
    assert "password_file" in secret and "hunter2" not in secret
    assert "hunter2" not in plugin.log.read_text()
    assert (
        "host_key" in plugin.volume("Create", "data", 500, Opts=options(sshd, backing, host_key="x"))["Err"]
    )


def test_host_keys_are_checked(plugin: Plugin, sshd: Sshd, backing: Path) -> None:
    unknown = options(sshd, backing, UserKnownHostsFile="/dev/null", GlobalKnownHostsFile="/dev/null")
    del unknown["host_key"]
    plugin.volume("Create", "unknown", Opts=unknown)
    assert "host key" in plugin.volume("Mount", "unknown", 500, ID="one")["Err"]
    other = sshd.client_key.with_suffix(".pub").read_text().rsplit(" ", 1)[0]
    plugin.volume("Create", "other", Opts=options(sshd, backing, host_key=other))
    assert "host key" in plugin.volume("Mount", "other", 500, ID="one")["Err"]
    file = options(sshd, backing, UserKnownHostsFile=str(sshd.known_hosts))
    del file["host_key"]
    plugin.volume("Create", "file", Opts=file)
    plugin.volume("Mount", "file", ID="one")
    plugin.volume("Unmount", "file", ID="one")
    assert plugin.volume("Get", "unknown")["Volume"]["Status"]["users"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_volumes_outlive_the_plugin(plugin: Plugin, sshd: Sshd, backing: Path, number: int) -> None:
    plugin.volume("Create", "data", Opts=options(sshd, backing))
    path = Path(plugin.volume("Mount", "data", ID="one")["Mountpoint"])
    with open(path / "file", "w") as file:
        file.write("before, ")
        plugin.stop(number)
        file.write("after")
    plugin.start()
    assert plugin.volume("Get", "data")["Volume"]["Status"]["users"] == 1
    assert plugin.volume("Mount", "data", ID="two")["Mountpoint"] == str(path)
    plugin.volume("Unmount", "data", ID="one")
    assert (path / "file").read_text() == "before, after"
    plugin.volume("Unmount", "data", ID="two")
    assert str(path) not in mountpoints()


def test_a_mount_that_died_is_made_anew_at_the_start(plugin: Plugin, sshd: Sshd, backing: Path) -> None:
    plugin.volume("Create", "data", Opts=options(sshd, backing))
    path = Path(plugin.volume("Mount", "data", ID="one")["Mountpoint"])
    plugin.stop()
    with connect_to(str(path))[0] as client:
        pid = client.pid
    processes.kill_tree(pid)
    with pytest.raises(OSError):
        os.stat(path)
    plugin.start()
    (backing / "there").touch()
    eventually(lambda: "mounted root@" in plugin.log.read_text().partition("listening")[2], LIMIT)
    eventually(lambda: os.access(path, os.F_OK) and os.listdir(path) == ["there"], LIMIT, "mounted anew")
    plugin.volume("Unmount", "data", ID="one")


def test_after_another_start_of_the_machine_nobody_uses_it(plugin: Plugin, sshd: Sshd, backing: Path) -> None:
    plugin.volume("Create", "data", Opts=options(sshd, backing))
    plugin.volume("Mount", "data", ID="one")
    plugin.stop()
    state = plugin.directory / "volumes" / "sftpfs-volumes.json"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    state.write_text(json.dumps(json.loads(state.read_text()) | {"boot": "another"}))
    plugin.start("--unmount-at-end")
    assert plugin.volume("Get", "data")["Volume"]["Status"]["users"] == 0
    path = plugin.volume("Mount", "data", ID="two")["Mountpoint"]
    plugin.stop()
    assert path not in mountpoints()


def test_a_slow_server_holds_up_no_other_volume(plugin: Plugin, sshd: Sshd, backing: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = str(silent.getsockname()[1])
        plugin.volume("Create", "slow", Opts=options(sshd, backing, port=port, ConnectTimeout="10"))
        plugin.volume("Create", "quick", Opts=options(sshd, backing))
        other = Connection(plugin.socket)
        other.request("POST", "/VolumeDriver.Mount", json.dumps({"Name": "slow", "ID": "one"}))
        silent.accept()[0].detach()
        plugin.volume("Mount", "quick", ID="one")
        assert len(plugin.ask("VolumeDriver.List", {})["Volumes"]) == 2
        plugin.volume("Unmount", "quick", ID="one")
        assert b"Err" in other.getresponse().read()
        other.close()
