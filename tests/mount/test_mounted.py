"""``sftpfs.mounted``: mounts for Python programs, in a block, on asyncio and on trio."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

import sftpfs
from sftpfs.errors import Failure
from sftpfs.library.mounted import MountedDirectory, OptionValue
from tests.conftest import server_options
from tests.harness.command import say
from tests.harness.counting import CountingProxy
from tests.harness.mounts import mountpoints, unmount_lazily
from tests.harness.waiting import eventually
from tests.sshd import Sshd

LIMIT = 60.0

Runner = Callable[[Callable[[], Awaitable[None]]], None]


def on_asyncio(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(work(), LIMIT)

    asyncio.run(bounded())


def on_trio(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(LIMIT):
            await work()

    trio.run(bounded)


both_loops = pytest.mark.parametrize("run", [on_asyncio, on_trio])


def keywords(sshd: Sshd) -> dict[str, OptionValue]:
    pairs = [option.partition("=") for option in server_options(sshd)]
    return {name: value or True for name, _, value in pairs}


def ours(sshd: Sshd, backing: Path, mountpoint: Path | None = None, **more: OptionValue) -> MountedDirectory:
    return sftpfs.mounted(f"root@127.0.0.1:{backing}", mountpoint, **{**keywords(sshd), **more})


def test_a_block_with_a_directory_of_its_own(sshd: Sshd, backing: Path) -> None:
    (backing / "there").write_text("before")
    with ours(sshd, backing, fsname="a,b\\c") as path:
        assert mountpoints()[str(path)] == r"a,b\134c"
        assert (path / "there").read_text() == "before"
        (path / "made").write_text("here")
    assert (backing / "made").read_text() == "here"
    assert str(path) not in mountpoints() and not path.exists()


def test_a_block_on_a_directory_given(sshd: Sshd, backing: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    mount = ours(sshd, backing, given, ro=True)
    for _ in range(2):
        with mount as path:
            assert path == given and str(given) in mountpoints()
            with pytest.raises(OSError):
                (path / "new").touch()
    assert list(given.iterdir()) == []


def test_the_error_of_a_block_is_told_and_the_mount_taken_off(sshd: Sshd, backing: Path) -> None:
    with pytest.raises(ZeroDivisionError), ours(sshd, backing) as path:
        raise ZeroDivisionError
    assert not path.exists()


def test_what_fails_says_what_the_command_line_says(sshd: Sshd, backing: Path, tmp_path: Path) -> None:
    missing = backing / "missing"
    with pytest.raises(sftpfs.MountError) as raised, ours(sshd, missing, tmp_path):
        raise AssertionError("mounted")
    options = ",".join(server_options(sshd))
    told = say(f"root@127.0.0.1:{missing}", tmp_path, "-o", options)
    assert raised.value.failure is Failure.REMOTE_DIRECTORY
    assert (raised.value.failure.value, f"sftpfs: {raised.value}\n") == (told.status, told.stderr)
    with (
        pytest.raises(sftpfs.MountError, match="unknown option nonsense") as raised,
        ours(sshd, backing, tmp_path, nonsense=1),
    ):
        raise AssertionError("mounted")
    assert raised.value.failure is Failure.USAGE


def test_nobody_is_asked_for_a_host_key(sshd: Sshd, backing: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    options = {"UserKnownHostsFile": tmp_path / "empty", "StrictHostKeyChecking": "ask"}
    with pytest.raises(sftpfs.MountError) as raised, ours(sshd, backing, **options):
        raise AssertionError("mounted")
    assert raised.value.failure is Failure.HOST_KEY_UNKNOWN


def test_a_word_that_begins_with_a_dash_is_no_option(tmp_path: Path) -> None:
    with pytest.raises(sftpfs.MountError) as raised, sftpfs.mounted("--help", tmp_path):
        raise AssertionError("mounted")
    assert raised.value.failure is Failure.USAGE


def test_who_is_inside_is_told_and_keeps_the_mount(sshd: Sshd, backing: Path) -> None:
    mount = ours(sshd, backing)
    path = mount.mount()
    with subprocess.Popen(["sleep", "60"], cwd=path) as sleeper:
        try:
            with pytest.raises(sftpfs.MountError, match=rf"in use by sleep \({sleeper.pid}\)") as raised:
                mount.unmount()
            assert raised.value.failure is Failure.MOUNTPOINT
            assert str(path) in mountpoints()
        finally:
            sleeper.kill()
    mount.unmount()
    assert not path.exists()


def test_one_that_somebody_else_took_off_leaves_no_directory(sshd: Sshd, backing: Path) -> None:
    with pytest.raises(sftpfs.MountError, match="no sftpfs is mounted"), ours(sshd, backing) as path:
        assert say("umount", path).status == 0
    assert not path.exists()


def test_data_that_is_lost_is_told(counting_proxy: CountingProxy, backing: Path) -> None:
    mount = sftpfs.mounted(f"127.0.0.1:{backing}", directport=counting_proxy.port, timeout=2)
    path = mount.mount()
    file = os.open(path / "file", os.O_CREAT | os.O_WRONLY)
    try:
        os.fsync(file)
        counting_proxy.pause()
        os.write(file, bytes(1 << 20))
        with pytest.raises(sftpfs.DataLostError, match=f"not written: {backing}/file: .*saved in ") as raised:
            mount.unmount()
        assert "stays mounted" not in str(raised.value)
    finally:
        with pytest.raises(OSError):
            os.close(file)
        unmount_lazily(str(path))
    assert not path.exists()


@both_loops
def test_a_block_in_an_event_loop(run: Runner, sshd: Sshd, backing: Path) -> None:
    async def work() -> None:
        async with ours(sshd, backing) as path:
            (path / "made").write_text("here")
        assert str(path) not in mountpoints()
        with pytest.raises(sftpfs.MountError, match="does not exist on"):
            async with ours(sshd, backing / "missing"):
                raise AssertionError("mounted")

    run(work)
    assert (backing / "made").read_text() == "here"


@both_loops
def test_a_cancelled_task_leaves_no_mount(
    run: Runner, counting_proxy: CountingProxy, backing: Path, tmp_path: Path
) -> None:
    """The server does not answer while the mount is waited for."""
    counting_proxy.pause()
    mountpoint = tmp_path / "mountpoint"
    mountpoint.mkdir()

    async def work() -> None:
        async with sftpfs.mounted(f"127.0.0.1:{backing}", mountpoint, directport=counting_proxy.port):
            raise AssertionError("mounted")

    async def in_asyncio() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(work(), 1)

    async def in_trio() -> None:
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await work()

    run(in_trio if run is on_trio else in_asyncio)
    assert str(mountpoint) not in mountpoints()


@both_loops
def test_a_cancelled_block_brings_everything_to_the_server(run: Runner, sshd: Sshd, backing: Path) -> None:
    paths = []

    async def work() -> None:
        async with ours(sshd, backing) as path:
            paths.append(path)
            (path / "made").write_text("here")
            if run is on_trio:
                await trio.sleep_forever()
            await asyncio.Event().wait()

    async def in_asyncio() -> None:
        task = asyncio.ensure_future(work())
        while not paths or not (backing / "made").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def in_trio() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            while not paths or not (backing / "made").exists():  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    run(in_trio if run is on_trio else in_asyncio)
    assert (backing / "made").read_text() == "here"
    eventually(lambda: str(paths[0]) not in mountpoints(), what="unmounted")
    assert not paths[0].exists()
