"""Completion beside real mounts, in each shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import server_options
from tests.harness.command import run
from tests.sshd import Sshd
from tests.unit.test_generated import complete, complete_in_fish, completed_in_zsh


def test_a_mountpoint_is_offered_as_it_is_named_and_nothing_in_the_name_is_run(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a $(touch${IFS}made) b"
    path.mkdir()
    monkeypatch.chdir(tmp_path)
    words = (f"root@127.0.0.1:{tmp_path}", path, "-F", "none", "-o", ",".join(server_options(sshd)))
    assert run(*words) == (0, "")
    try:
        for beginning in ("", f"{tmp_path}/a", f"{tmp_path}/a\\ "):
            assert str(path) in complete("sftpfs", "umount", beginning)
        assert complete("sftpfs", "umount", "--f") == ["--force"]
        assert str(path) in complete_in_fish("sftpfs umount ")
        completed_in_zsh(f"sftpfs umount {tmp_path}/a", f"<sftpfs><umount><{path}>")
    finally:
        assert run("umount", path) == (0, "")
    assert not (tmp_path / "made").exists()
