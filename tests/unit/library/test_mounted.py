"""``sftpfs.mounted``: its options as the command reads them; a light import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sftpfs
from sftpfs.cli.options.parse import parse_arguments, split_options
from sftpfs.errors import MountError
from sftpfs.library.mounted import OptionValue, option_words

NAMES = st.sampled_from(["fsname", "IdentityFile", "uid"])


@given(NAMES, st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1))
def test_a_value_arrives_as_it_was_given(name: str, value: str) -> None:
    flag, item = option_words({name: value})
    assert flag == "-o"
    assert split_options(item) == [f"{name}={value}"]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"ro": True, "port": 22}, ["ro", "port=22"]),
        ({"ro": False, "port": None}, []),
        ({"contain_symlinks": False}, ["no_contain_symlinks"]),
        ({"suid": False}, ["nosuid"]),
        ({"Compression": False, "compression": True}, ["Compression=no", "compression=yes"]),
        ({"IdentityFile": [Path("/a,b"), "c"]}, ["IdentityFile=/a\\,b", "IdentityFile=c"]),
        ({"timeout": 0.5}, ["timeout=0.5"]),
    ],
)
def test_how_options_are_written(options: dict[str, OptionValue], words: list[str]) -> None:
    assert option_words(options)[1::2] == words


@pytest.mark.parametrize("name", ["rw", "nonsense"])
def test_what_cannot_be_left_out_is_refused(name: str) -> None:
    with pytest.raises(MountError, match=name):
        parse_arguments(["host:", "/mnt", *option_words({name: False})])


def test_importing_it_loads_nothing_of_a_mount() -> None:
    program = (
        "import sys, sftpfs; sftpfs.mounted; "
        "print(sorted({'trio', 'asyncio', 'asyncssh', 'pyfuse3', 'sftpfs.mount'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    with pytest.raises(AttributeError, match="nonsense"):
        sftpfs.nonsense  # type: ignore[attr-defined]  # noqa: B018
