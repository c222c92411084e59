"""The manual pages and the completion do what they are for."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.harness.command import Terminal

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


TYPED = [
    ("sftpfs -oro,tim", ["-oro,timeout="]),
    ("sftpfs -otimeo", ["-otimeout="]),
    ("sftpfs -o port=22,tim", ["-o", "port=22,timeout="]),
    ("sftpfs -o port=22,User=joe,max_conn", ["-o", "port=22,User=joe,max_conns="]),
    ("sftpfs -oport=22,User=a@b,max_conn", ["-oport=22,User=a@b,max_conns="]),
    ("sftpfs -o ssh_command=a:b,max_conn", ["-o", "ssh_command=a:b,max_conns="]),
    ("sftpfs -o cache=n", ["-o", "cache=no"]),
    ("sftpfs -oro,idmap=u", ["-oro,idmap=user"]),
    ("sftpfs h: /m -o port=22,nomap=i", ["h:", "/m", "-o", "port=22,nomap=ignore"]),
    ("sftpfs -o log_file=n", ["-o", "log_file=n"]),
    ("sftpfs h: /m -o ro,port=22,no_contain", ["h:", "/m", "-o", "ro,port=22,no_contain_symlinks"]),
]
"""What is typed before Tab, and the words it leads to."""


@pytest.mark.parametrize(("line", "words"), TYPED, ids=[line for line, _ in TYPED])
def test_nothing_that_was_typed_is_lost(line: str, words: list[str]) -> None:
    """In a bash on a terminal, which splits words in its own way."""
    with Terminal(command=["bash", "--norc", "--noprofile", "-i"]) as terminal:
        terminal.type(f"source '{CONTRIB}/completion/sftpfs.bash'; PS1='r''eady '\n")
        terminal.wait_for("ready ")
        beginning = "\x01printf '<%s>' \x05\n"  # in front of the line, then as if it had been that command
        terminal.type(f"{line}\t{beginning}")
        terminal.wait_for("".join(f"<{word}>" for word in ["sftpfs", *words]))
        terminal.type("exit\n")
        terminal.finish()


ZSH = f"autoload -Uz compinit; fpath=('{CONTRIB}/completion' $fpath); compinit -D -u; PS1='r''eady '\n"


def completed_in_zsh(line: str, words: str) -> None:
    """``line`` and a tab become ``words``, which is how printf shows its arguments."""
    with Terminal(command=["zsh", "-f", "-i"]) as terminal:
        terminal.type(ZSH)
        terminal.wait_for("ready ")
        terminal.type(f"{line}\t\x01printf '<%s>' \x05\n")
        terminal.wait_for(words)
        terminal.type("exit\n")
        terminal.finish()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sftpfs um", "<sftpfs><umount>"),
        ("sftpfs umount --f", "<sftpfs><umount><--force>"),
        ("sftpfs -oro,max_c", "<sftpfs><-oro,max_conns=>"),
        ("sftpfs h: /m -o port=22,nomap=i", "<sftpfs><h:></m><-o><port=22,nomap=ignore>"),
        ("sftpfs doctor -o max_c", "<sftpfs><doctor><-o><max_conns=>"),
    ],
)
def test_completion_in_zsh(line: str, words: str) -> None:
    completed_in_zsh(line, words)


def complete_in_fish(line: str) -> list[str]:
    """What fish offers in place of the last word of ``line``."""
    script = f"source '{CONTRIB}/completion/sftpfs.fish'; complete -C '{line}'"
    with tempfile.TemporaryDirectory() as home:  # fish makes directories where it would keep things
        done = subprocess.run(
            ["env", "-u", "XDG_CONFIG_HOME", "-u", "XDG_DATA_HOME", "fish", "--no-config", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={**os.environ, "HOME": home},
        )
    assert done.stderr == ""
    return [offered.partition("\t")[0] for offered in done.stdout.splitlines()]


def test_completion_in_fish() -> None:
    assert complete_in_fish("sftpfs umou") == ["umount"]
    assert complete_in_fish("sftpfs umount --f") == ["--force"]
    assert complete_in_fish("sftpfs -oro,max_c") == ["-oro,max_conns="]
    assert complete_in_fish("sftpfs h: /m -o port=22,nomap=i") == ["port=22,nomap=ignore"]
    assert complete_in_fish("sftpfs doctor -o max_c") == ["max_conns="]


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
