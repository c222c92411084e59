"""Symbolic and hard links."""

from __future__ import annotations

import os

from tests.servers.checks.names import tree
from tests.servers.checks.registry import check, content
from tests.servers.place import Place


@check
def make_a_symbolic_link(place: Place) -> None:
    (place.there / "target").write_bytes(b"t")
    place.tried("symlink", lambda: os.symlink("target", place.here / "link"))
    place.saw("names", tree(place.there))
    place.saw("on the server", os.readlink(place.there / "link"))
    place.saw("here", os.readlink(place.here / "link"))
    place.saw("content", (place.here / "link").read_bytes())


@check
def make_a_dangling_link(place: Place) -> None:
    place.tried("symlink", lambda: os.symlink("no/such", place.here / "link"))
    place.saw("names", tree(place.there))
    place.saw("here", os.readlink(place.here / "link"))
    place.tried("stat", lambda: os.stat(place.here / "link"))
    os.unlink(place.here / "link")
    place.saw("then", tree(place.there))


@check
def make_an_absolute_link(place: Place) -> None:
    place.tried("symlink", lambda: os.symlink("/no/such/place", place.here / "link"))
    place.saw("on the server", os.readlink(place.there / "link"))


@check
def make_a_link_over_what_is_there(place: Place) -> None:
    (place.there / "file").write_bytes(b"1")
    place.guard("file", b"1")
    place.tried("symlink", lambda: os.symlink("target", place.here / "file"))
    place.saw("names", tree(place.there))


@check
def follow_a_link(place: Place) -> None:
    (place.there / "directory").mkdir()
    (place.there / "directory" / "file").write_bytes(b"1")
    os.symlink("directory", place.there / "link")
    place.saw("through it", (place.here / "link" / "file").read_bytes())
    place.saw("a link", os.path.islink(place.here / "link"))
    place.saw("target", os.readlink(place.here / "link"))


@check
def remove_a_link(place: Place) -> None:
    (place.there / "target").write_bytes(b"kept")
    place.guard("target", b"kept")
    os.symlink("target", place.there / "link")
    os.unlink(place.here / "link")
    place.saw("names", tree(place.there))


@check
def rename_a_link(place: Place) -> None:
    (place.there / "target").write_bytes(b"kept")
    place.guard("target", b"kept")
    os.symlink("target", place.there / "link")
    os.rename(place.here / "link", place.here / "moved")
    place.saw("names", tree(place.there))
    place.saw("still a link", os.path.islink(place.there / "moved"))


@check
def change_a_link_not_its_target(place: Place) -> None:
    (place.there / "target").write_bytes(b"kept")
    os.utime(place.there / "target", (1_000_000_000, 1_000_000_000))
    os.symlink("target", place.there / "link")
    place.tried("utime", lambda: os.utime(place.here / "link", (5, 6), follow_symlinks=False))
    place.tried("chown", lambda: os.lchown(place.here / "link", 5, 6))
    after = os.stat(place.there / "target")
    place.kept("the target's time", after.st_mtime == 1_000_000_000)
    place.kept("the target's owner", (after.st_uid, after.st_gid) == (0, 0))
    place.saw("link", os.lstat(place.there / "link").st_mtime)


@check
def change_a_target_through_its_link(place: Place) -> None:
    (place.there / "target").write_bytes(b"kept")
    os.symlink("target", place.there / "link")
    os.chmod(place.here / "link", 0o600)
    place.saw("target", oct(os.stat(place.there / "target").st_mode & 0o777))
    (place.here / "link").write_bytes(b"changed")
    place.saw("content", (place.there / "target").read_bytes())


@check
def hard_link(place: Place) -> None:
    data = content(1, 5000)
    (place.there / "one").write_bytes(data)
    place.guard("one", data)
    place.tried("link", lambda: os.link(place.here / "one", place.here / "two"))
    place.saw("names", tree(place.there))
    place.saw("number", os.stat(place.there / "one").st_nlink)
    place.saw("content", (place.here / "two").read_bytes())


@check
def hard_link_over_what_is_there(place: Place) -> None:
    (place.there / "one").write_bytes(b"1")
    (place.there / "two").write_bytes(b"2")
    place.guard("two", b"2")
    place.tried("link", lambda: os.link(place.here / "one", place.here / "two"))


@check
def replace_a_link_with_ln(place: Place) -> None:
    (place.there / "one").write_bytes(b"1")
    (place.there / "two").write_bytes(b"2")
    place.shell("ln -s one current; ln -sfn two current")
    place.saw("on the server", os.readlink(place.there / "current"))
    place.saw("here", (place.here / "current").read_bytes())
