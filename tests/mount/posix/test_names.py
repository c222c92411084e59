"""Names are bytes."""

from __future__ import annotations

import errno
import os

import pytest

from tests.conftest import MakeMount, Place
from tests.harness.kernel import fails_with

ODD_NAMES = [
    pytest.param(b"line\nfeed", id="newline"),
    pytest.param(b"\xff\xfe\x80", id="not-utf-8"),
    pytest.param("ü文字😀".encode(), id="utf-8"),
    pytest.param(b"-rf", id="dash"),
    pytest.param(b" space ", id="spaces"),
    pytest.param(b"back\\slash", id="backslash"),
    pytest.param(b"quote'\"`$()*?[]", id="shell"),
    pytest.param(b"\x01\x7f\x1b[31m", id="control"),
    pytest.param(b"...", id="dots"),
    pytest.param(b"a:b,c=d", id="options"),
    pytest.param(b"x" * 255, id="255-bytes"),
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(place: Place, name: bytes) -> None:
    here, there = os.fsencode(place.here), os.fsencode(place.there)
    with open(os.path.join(here, name), "xb") as file:
        file.write(name)
    assert os.listdir(there) == [name]
    assert os.listdir(here) == [name]
    with open(os.path.join(there, name), "rb") as file:
        assert file.read() == name
    os.rename(os.path.join(here, name), os.path.join(here, b"plain"))
    os.rename(os.path.join(here, b"plain"), os.path.join(here, name))
    assert os.listdir(there) == [name]
    os.unlink(os.path.join(here, name))
    os.mkdir(os.path.join(here, name))
    os.symlink(name, os.path.join(here, b"link"))
    assert os.readlink(os.path.join(here, b"link")) == name
    assert os.path.isdir(os.path.join(here, b"link"))
    os.rmdir(os.path.join(here, name))
    assert os.listdir(there) == [b"link"]


LONG = b"y" * 256


@pytest.mark.parametrize(
    "operation",
    [
        os.stat,
        os.mkdir,
        os.unlink,
        os.rmdir,
        os.readlink,
        lambda path: os.symlink(b"t", path),
        lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)),
        lambda path: os.rename(os.path.join(os.path.dirname(path), b"f"), path),
        lambda path: os.link(os.path.join(os.path.dirname(path), b"f"), path),
    ],
    ids=["stat", "mkdir", "unlink", "rmdir", "readlink", "symlink", "create", "rename", "link"],
)
def test_a_name_of_256_bytes_is_enametoolong(place: Place, operation) -> None:  # type: ignore[no-untyped-def]
    (place.here / "f").touch()
    with fails_with(errno.ENAMETOOLONG):
        operation(os.path.join(os.fsencode(place.here), LONG))
    assert os.listdir(place.there) == ["f"]


def test_a_name_of_256_bytes_where_every_name_is_known(make_mount: MakeMount) -> None:
    """A directory made here is known to be empty; that the name is too long says more."""
    made = make_mount().path / "made"
    made.mkdir()
    for operation in (os.stat, os.unlink, os.rmdir, os.listdir, os.readlink):
        with fails_with(errno.ENAMETOOLONG):
            operation(os.path.join(os.fsencode(made), LONG))


def test_a_deep_path(place: Place) -> None:
    """Thirty levels of long names: near the server's PATH_MAX, still below it."""
    names = [f"{level:02}" + "d" * 98 for level in range(30)]
    here = place.here.joinpath(*names)
    os.makedirs(here)
    (here / "f").write_text("deep")
    assert place.there.joinpath(*names, "f").read_text() == "deep"
    assert (here / "f").read_text() == "deep"


def test_a_path_past_the_servers_limit_is_enametoolong(place: Place) -> None:
    """The kernel takes a path step by step, the server only as a whole."""
    fd = os.open(place.here, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with fails_with(errno.ENAMETOOLONG):
            for _ in range(20):
                os.mkdir("n" * 250, dir_fd=fd)
                deeper = os.open("n" * 250, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = deeper
    finally:
        os.close(fd)


def test_case_matters(place: Place) -> None:
    (place.here / "a").write_text("small")
    (place.here / "A").write_text("capital")
    assert sorted(os.listdir(place.there)) == ["A", "a"]
    assert (place.here / "a").read_text() == "small"
