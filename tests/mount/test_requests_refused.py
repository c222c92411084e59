"""Programs on servers that refuse requests: their data is there, and who asked hears it."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeMount, server_options
from tests.harness.foreign import ForeignServer
from tests.harness.mounts import Mount
from tests.sshd import SFTP_SERVER, Sshd

pytestmark = pytest.mark.limit(90)

PROGRAMS = {
    "cp": "cp source/file {here}/out",
    "cp -p": "cp -p source/file {here}/out",
    "install": "install -m 600 source/file {here}/out",
    "tar": "tar cf - -C source file | tar xf - -C {here} && mv {here}/file {here}/out",
    "rsync -a": "rsync -a source/file {here}/out",
    "shutil.copy2": 'python3 -c \'import shutil; shutil.copy2("source/file", "{here}/out")\'',
}


@pytest.fixture(params=["-P setstat,fsetstat", "-P setstat,fsetstat -u 077", "sets nothing", "sets no times"])
def refusing(
    request: pytest.FixtureRequest, make_mount: MakeMount, tmp_path: Path, backing: Path
) -> Iterator[Mount]:
    """A mount of a server that refuses."""
    if request.param.startswith("-P"):
        with Sshd(tmp_path / "sshd", subsystem=f"{SFTP_SERVER} {request.param}") as sshd:
            mount = make_mount(server=sshd, backing=backing)
            yield mount
            mount.close()
    else:
        with ForeignServer(request.param) as server:
            mount = make_mount(port=server.port, backing=backing)
            yield mount
            mount.close()


def test_the_data_of_every_program_is_there(refusing: Mount, tmp_path: Path) -> None:
    """What they say of mode and times is theirs."""
    (tmp_path / "source").mkdir()
    data = random.Random(1).randbytes(300_000)
    (tmp_path / "source" / "file").write_bytes(data)
    os.utime(tmp_path / "source" / "file", (1_000_000_000, 1_000_000_000))
    for name, command in PROGRAMS.items():
        done = subprocess.run(
            command.format(here=refusing.path), shell=True, cwd=tmp_path, capture_output=True, text=True
        )
        written = refusing.backing / "out"
        if not written.exists():  # tar's own status stopped the mv
            written = refusing.backing / "file"
        assert written.read_bytes() == data, (name, done.stderr)
        written.unlink()


def test_who_asks_for_times_hears_that_they_are_not_set(refusing: Mount) -> None:
    """And close, which is about data, does not fail."""
    descriptor = os.open(refusing.path / "f", os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(descriptor, b"content")
    with pytest.raises(OSError):
        os.utime(descriptor, (1, 1))
    os.write(descriptor, b" and more")
    os.close(descriptor)
    assert (refusing.backing / "f").read_bytes() == b"content and more"
    with pytest.raises(OSError):
        os.utime(refusing.path / "f", (1, 1))


@pytest.mark.parametrize("request_name", ["realpath", "stat"])
def test_a_server_without_what_asks_for_the_root_is_mounted(
    request_name: str, tmp_path: Path, backing: Path
) -> None:
    """By an absolute directory, and where the login starts."""
    (backing / "file").write_text("content")
    subsystem = f"{SFTP_SERVER} -P {request_name} -d {backing}"
    with Sshd(tmp_path / "sshd", subsystem=subsystem) as sshd:
        for number, where in enumerate((str(backing), "")):
            spec = f"{sshd.user}@127.0.0.1:{where}"
            with Mount(spec, tmp_path / f"mount{number}", backing, server_options(sshd)) as mount:
                assert "file" in os.listdir(mount.path)
                assert (mount.path / "file").read_text() == "content"
                (mount.path / "d").mkdir()
                (mount.path / "d" / "made").write_text("made")
                (mount.path / "d" / "made").rename(mount.path / "moved")
                (mount.path / "link").symlink_to("moved")
                assert (mount.path / "link").read_text() == "made"
                for name in ("moved", "link"):
                    (mount.path / name).unlink()
                (mount.path / "d").rmdir()


def test_nothing_unasked_is_sent_again(make_mount: MakeMount, backing: Path) -> None:
    """The mode of what is made is not mended once that was refused."""
    with ForeignServer("sets nothing") as server:
        mount = make_mount(port=server.port, backing=backing)
        before = os.umask(0)
        try:
            for number in range(4):
                (mount.path / f"f{number}").touch(0o666)
                (mount.path / f"d{number}").mkdir(0o777)
        finally:
            os.umask(before)
        assert sum(name in ("SETSTAT", "FSETSTAT") for name in server.requests()) <= 4
        mount.close()
