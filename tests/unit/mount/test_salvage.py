"""Keeping what could not be written: where, how, how much, and that every loss is told."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Never

import pytest

from sftpfs.data.writing.lost_writes import LostBytes
from sftpfs.mount import salvage, salvage_store
from sftpfs.mount.salvage import Salvage
from sftpfs.mount.salvage_store import state_directory

FULL = OSError(errno.ENOSPC, "No space left on device")


def salvage_in(state: Path, mountpoint: str = "/mnt", room: int = 1 << 20) -> Salvage:
    return Salvage(str(state / "lost"), "user@host:dir", mountpoint, room)


def files(kept: Salvage, path: bytes = b"/f") -> list[str]:
    """Where what ``path`` lost is, once all is saved."""
    kept.close()
    return kept.files(path)


def lost(offset: int, data: bytes, incident: int = 1, appended: bool = False) -> LostBytes:
    return LostBytes(incident, offset, data, FULL, appended)


@pytest.mark.parametrize(
    ("chosen", "home", "uid", "expected"),
    [
        ("", "/home/u", 1000, "/home/u/.local/state/sftpfs"),
        ("/state", "/home/u", 1000, "/state/sftpfs"),
        ("relative", "/home/u", 1000, "/home/u/.local/state/sftpfs"),
        ("", "/root", 0, "/var/lib/sftpfs"),
        ("/state", "/root", 0, "/state/sftpfs"),
        ("", "/", 1000, "/var/lib/sftpfs"),
    ],
)
def test_where_state_belongs(chosen: str, home: str, uid: int, expected: str) -> None:
    assert state_directory(chosen, home, uid) == expected


def test_state_does_not_go_where_another_user_may_change_it(tmp_path: Path) -> None:
    """``sudo -E`` brings his XDG_STATE_HOME; it may not be there yet."""
    os.chown(tmp_path, 65534, 65534)
    for chosen in (tmp_path, tmp_path / "not/yet"):
        assert state_directory(str(chosen), "/root", 0) == "/var/lib/sftpfs"
        assert state_directory(str(chosen), "/home/u", 1000) == "/home/u/.local/state/sftpfs"
        assert state_directory(str(chosen), "/home/u", 65534) == f"{chosen}/sftpfs"


def test_bytes_are_at_their_offsets_and_what_they_are_is_beside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = salvage_in(tmp_path / "state")
    kept.record_loss(b"/dir/a file", lost(4096, b"older"))
    kept.record_loss(b"/dir/a file", lost(4098, b"NEW"))
    kept.record_loss(b"/dir/a file", lost(1 << 30, b"far"))
    (path,) = files(kept, b"/dir/a file")
    with open(path, "rb") as file:
        assert os.pread(file.fileno(), 10, 4096) == b"olNEW\0\0\0\0\0"
        assert os.pread(file.fileno(), 10, 1 << 30) == b"far"
        assert os.fstat(file.fileno()).st_blocks < 1000, "sparse"
    about = json.loads(Path(f"{path}.json").read_text())
    assert about["server"] == "user@host:dir" and about["path"] == "/dir/a file"
    assert about["ranges"] == [[4096, 4101], [1 << 30, (1 << 30) + 3]]
    assert about["reason"] == FULL.strerror and about["errno"] == errno.ENOSPC
    assert not about["appended"] and about["time"].endswith("Z")
    (line,) = [record.getMessage() for record in caplog.records]
    assert "/dir/a file on user@host:dir: bytes 4096 to 4101" in line
    assert FULL.strerror in line and path in line


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    kept = salvage_in(tmp_path / "state")
    kept.record_loss(b"/f", lost(0, b"secret"))
    (path,) = files(kept)
    for file in (path, f"{path}.json"):
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state/lost").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) & 0o077 == 0
    assert sorted(os.listdir(tmp_path / "state/lost")) == sorted(
        os.path.basename(name) for name in (path, f"{path}.json")
    )


def test_incidents_are_kept_apart(tmp_path: Path) -> None:
    kept = salvage_in(tmp_path)
    kept.record_loss(b"/f", lost(0, b"one", incident=1))
    kept.record_loss(b"/f", lost(0, b"two", incident=2))
    contents = {Path(path).read_bytes() for path in files(kept)}
    assert contents == {b"one", b"two"}


def test_a_name_of_the_server_names_no_other_file(tmp_path: Path) -> None:
    kept = salvage_in(tmp_path)
    name = b"/d/..\n\xff\x1b[31m;rm -rf $HOME" + b"x" * 300
    kept.record_loss(name, lost(0, b"data"))
    (path,) = files(kept, name)
    assert os.path.dirname(path) == str(tmp_path / "lost")
    assert path.isascii() and path.isprintable() and len(os.path.basename(path)) < 200
    assert "\udcff" in json.loads(Path(f"{path}.json").read_text())["path"]


def test_what_finds_no_memory_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = salvage_in(tmp_path, room=10)
    kept.record_loss(b"/f", lost(0, b"0123456789"))
    kept.record_loss(b"/f", lost(10, b"over"))
    (path,) = files(kept)
    assert Path(path).read_bytes() == b"0123456789"
    saved, told = [record.getMessage() for record in caplog.records]
    assert "bytes 0 to 10 could not be written" in saved and "saved in" in saved
    assert "bytes 10 to 14 could not be written" in told and "could not be saved either" in told


def test_no_more_is_kept_than_fits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salvage, "STORE_BYTES", 100_000)
    first = salvage_in(tmp_path)
    first.record_loss(b"/f", lost(0, b"x" * 80_000))
    first.close()
    second = salvage_in(tmp_path)
    second.record_loss(b"/g", lost(0, b"y" * 80_000))
    assert files(second, b"/g") == []
    assert "is full" in caplog.records[-1].getMessage()


@pytest.mark.parametrize("obstacle", ["link", "file"])
def test_a_store_that_cannot_be_used_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, obstacle: str
) -> None:
    state = tmp_path / "state"
    if obstacle == "link":
        (tmp_path / "elsewhere").mkdir()
        state.mkdir()
    elif obstacle == "file":
        state.write_text("")
    kept = salvage_in(state)
    if obstacle == "link":
        (state / "lost").symlink_to(tmp_path / "elsewhere")
    kept.record_loss(b"/f", lost(0, b"data"))
    assert files(kept) == []
    (line,) = [record.getMessage() for record in caplog.records]
    assert "bytes 0 to 4 could not be written" in line and "could not be saved either" in line
    if obstacle == "link":
        assert os.listdir(tmp_path / "elsewhere") == []


def test_what_comes_after_the_end_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = salvage_in(tmp_path)
    kept.close()
    kept.record_loss(b"/f", lost(0, b"late"))
    (line,) = [record.getMessage() for record in caplog.records]
    assert "bytes 0 to 4 could not be written" in line and "the mount has ended" in line


def test_names_sort_as_the_losses_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever sorts names, a shell for one; and whatever this machine's time does meanwhile."""
    monkeypatch.setattr(salvage, "GATHER", 0.0)
    kept = salvage_in(tmp_path)
    for number in range(1, 13):
        kept.record_loss(b"/f", lost(0, b"%02d" % number, incident=number))
        kept.wait_saved()
        if number == 6:
            monkeypatch.setattr(salvage.clock, "wall", lambda now=salvage.clock.wall: now() - 3600)
    kept.close()
    names = sorted(name for name in os.listdir(tmp_path / "lost") if not name.endswith(".json"))
    assert [(tmp_path / "lost" / name).read_bytes() for name in names] == [b"%02d" % n for n in range(1, 13)]
    saved = salvage_store.all_saved(str(tmp_path / "lost"))
    assert [os.path.basename(one.base) for one in saved] == names
    assert [one.path for one in saved] == [b"/f"] * 12 and saved[0].ranges == [(0, 2)]


def test_an_older_store_is_read_in_order(tmp_path: Path) -> None:
    """Names with numbers as they came, times in whole seconds."""
    for number in (1, 2, 9, 10, 11):
        base = tmp_path / f"20261128T144021Z-4711-{number}-doc"
        base.write_bytes(b"x")
        text = {"server": "h:", "path": "/\udcff", "mountpoint": "/m", "ranges": [[0, 1]], "appended": False}
        text |= {"reason": "full", "errno": 28, "time": "2026-11-28T14:40:21Z"}
        Path(f"{base}.json").write_text(json.dumps(text))
    (tmp_path / "20261128T144022Z-1-1-doc.json").write_text("{}")
    saved = salvage_store.all_saved(str(tmp_path))
    assert [one.number for one in saved] == [1, 2, 9, 10, 11]
    assert {one.path for one in saved} == {b"/\xff"} and not saved[0].root


def test_a_loss_is_on_record_until_its_file_is_taken_away(tmp_path: Path) -> None:
    kept = salvage_in(tmp_path)
    kept.record_loss(b"/f", lost(0, b"one", incident=1))
    kept.record_loss(b"/f", lost(0, b"two", incident=2))
    kept.record_loss(b"/g", lost(0, b"three", incident=3))
    assert not kept.acknowledged(b"/f") and not kept.acknowledged(b"/nothing was lost of it")
    kept.wait_saved()
    assert kept.statistics()["pieces"] == 3 and kept.statistics()["files"] == 2
    first, second, third = salvage_store.all_saved(str(tmp_path / "lost"))
    salvage_store.remove(first)
    assert not kept.acknowledged(b"/f")
    salvage_store.remove(second)
    assert kept.acknowledged(b"/f") and not kept.acknowledged(b"/g")
    kept.record_loss(b"/g", lost(9, b"more", incident=3))
    salvage_store.remove(third)
    kept.close()
    assert [loss.path for loss in kept.losses()] in (
        [b"/g"],
        [],
    )  # what came later may have a file of its own


def test_what_has_newer_bytes_in_its_place_is_not_to_be_written_back(tmp_path: Path) -> None:
    kept = salvage_in(tmp_path)
    kept.record_loss(b"/f", lost(0, b"0123456789"))
    kept.narrow_loss(1, [(0, 3), (6, 20)])
    kept.record_loss(b"/f", lost(20, b"more"))
    kept.record_loss(b"/g", lost(0, b"gone", incident=2))
    kept.wait_saved()
    first, second = salvage_store.all_saved(str(tmp_path / "lost"))
    assert (first.missing, second.missing) == ([(0, 3), (6, 10), (20, 24)], [(0, 4)])
    assert first.ranges == [(0, 10), (20, 24)]
    kept.narrow_loss(1, [(6, 8)])
    kept.narrow_loss(2, [])
    kept.note_version([1, 2], (7, 1_600_000_000))
    kept.note_version([1], None)
    kept.wait_saved()
    assert [one.left for one in salvage_store.all_saved(str(tmp_path / "lost"))] == [None, (7, 1_600_000_000)]
    salvage_store.remove(first)
    kept.narrow_loss(1, [])
    kept.close()
    (left,) = salvage_store.all_saved(str(tmp_path / "lost"))
    assert left == second._replace(newer=[(0, 4)], left=(7, 1_600_000_000), end=7) and left.missing == []
    assert sorted(os.listdir(tmp_path / "lost")) == sorted(
        os.path.basename(name) for name in (left.base, f"{left.base}.json")
    )


@pytest.mark.parametrize("appended", [False, True])
def test_what_is_lost_while_the_loss_is_written_back_is_found(tmp_path: Path, appended: bool) -> None:
    kept = salvage_in(tmp_path)
    kept.record_loss(b"/f", lost(0, b"first", appended=appended))
    kept.wait_saved()
    (read,) = salvage_store.all_saved(str(tmp_path / "lost"))
    assert salvage_store.reread(read) is None
    kept.record_loss(b"/f", lost(5, b"second", appended=appended))
    kept.wait_saved()
    more = salvage_store.remove(read)
    assert more is not None and more.missing == ([(5, 11)] if appended else [(0, 11)])
    kept.narrow_loss(1, [])
    kept.close()
    assert salvage_store.remove(more) is None and not os.listdir(tmp_path / "lost")


def test_what_could_not_be_saved_stays_on_record(tmp_path: Path) -> None:
    (tmp_path / "lost").write_text("no directory")
    kept = salvage_in(tmp_path)
    kept.record_loss(b"/f", lost(0, b"gone"))
    kept.close()
    assert not kept.acknowledged(b"/f") and kept.statistics()["bytes"] == 4


def test_nothing_lost_nothing_made(tmp_path: Path) -> None:
    kept = salvage_in(tmp_path / "state")
    kept.close()
    assert kept.losses() == []
    assert not (tmp_path / "state").exists()


def test_a_loss_is_saved_where_no_thread_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many processes as may be: what was accepted is saved all the same, and the mount lives."""
    kept = salvage_in(tmp_path / "state")

    def refused(_: threading.Thread) -> Never:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    kept.record_loss(b"/f", lost(0, b"bytes"))
    (path,) = files(kept)
    assert Path(path).read_bytes() == b"bytes"


def test_another_mount_may_save_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One outage takes the data of two mounts: a file of the other's has another name between two looks."""
    kept = salvage_in(tmp_path / "state")
    (tmp_path / "state/lost").mkdir(parents=True)
    real = os.scandir

    def scandir(path: str) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        temporary = Path(path, "another.json.new")
        temporary.touch()
        with real(path) as found:
            entries = list(found)
        temporary.rename(Path(path, "another.json"))
        return nullcontext(iter(entries))

    monkeypatch.setattr(os, "scandir", scandir)
    kept.record_loss(b"/f", lost(0, b"bytes"))
    (path,) = files(kept)
    assert Path(path).read_bytes() == b"bytes"
