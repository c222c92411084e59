"""The manual pages and the completion do what they are for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"

COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
compopt() { :; }
_sftpfs
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(*words: str) -> list[str]:
    done = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", str(CONTRIB / "completion" / "sftpfs.bash"), *words],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_options_are_completed_in_bash() -> None:
    assert complete("sftpfs", "h:", "/m", "-o", "max_c") == ["max_conns="]
    assert complete("sftpfs", "h:", "/m", "-o", "ro,allow_o") == ["ro,allow_other"]
    assert complete("sftpfs", "h:", "/m", "-o", "IdentityF") == ["IdentityFile="]
    assert "--version" in complete("sftpfs", "--v")


def test_commands_are_completed_in_bash() -> None:
    assert "install-helpers" in complete("sftpfs", "inst")
    assert complete("sftpfs", "install-helpers", "--rem") == ["--remove"]


def test_paths_are_completed_in_bash(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "a directory").mkdir()
    both = [f"{tmp_path}/a directory", f"{tmp_path}/a file"]
    assert sorted(complete("sftpfs", "cp", f"{tmp_path}/a")) == both
    assert sorted(complete("sftpfs", "refresh", f"{tmp_path}/a")) == both
    assert complete("sftpfs", "h:", f"{tmp_path}/a") == both[:1]


@pytest.mark.parametrize("page", sorted((CONTRIB / "man").iterdir()), ids=lambda path: path.name)
def test_man_has_no_warnings(page: Path) -> None:
    done = subprocess.run(
        ["man", "--warnings", "--encoding=UTF-8", "-l", str(page)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "PAGER": "cat"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "EXIT STATUS" in done.stdout
