"""Where a command's output goes: nowhere, to a full disk, to who has read enough, in a poor encoding."""

from __future__ import annotations

import os
import subprocess

import pytest

from sftpfs.cli.main import BROKEN_PIPE_STATUS
from sftpfs.errors import Failure
from tests.harness.command import COMMAND, LIMIT, environment, say

LISTS = [["--help"], ["--version"], ["cp", "--help"], ["doctor"]]


def status_and_errors(words: list[str], stdout: int) -> tuple[int, str]:
    done = subprocess.run(
        [*COMMAND, *words],
        env=environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", LISTS)
def test_who_has_read_enough_is_no_error(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert status_and_errors(words, writer) == (BROKEN_PIPE_STATUS, "")
    finally:
        os.close(writer)


@pytest.mark.parametrize("words", LISTS)
def test_a_full_disk_is_told(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        status, errors = status_and_errors(words, full.fileno())
    assert status == Failure.COMMAND.value
    assert errors == "sftpfs: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("words", LISTS)
def test_no_output_at_all(words: list[str]) -> None:
    result = say(*words, prefix=["sh", "-c", 'exec "$@" >&-', "sh"])
    assert (result.status, result.stderr) == (0, "")


def test_what_the_encoding_lacks_is_escaped() -> None:
    result = say("cp", "--help", env=environment(PYTHONIOENCODING="latin-1"))
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: sftpfs cp") and r"SRC\u2026 DST" in result.stdout
