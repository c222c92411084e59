"""Symbolic links: made, read, and never a way out of the mount."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.kernel import fails_with
from tests.harness.mounts import Mount


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory beside the mounted one, with a secret in it."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret").write_text("secret")
    return directory


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    """A server directory with files and links of every sort."""
    root = tmp_path / "root"
    (root / "sub" / "deeper").mkdir(parents=True)
    (root / "file").write_text("content")
    (root / "sub" / "file").write_text("below")
    (root / "relative").symlink_to("file")
    (root / "sub" / "up").symlink_to("../file")
    (root / "sub" / "deeper" / "up2").symlink_to("../../sub/file")
    (root / "absolute").symlink_to(root / "sub" / "file")
    (root / "sub" / "absolute").symlink_to(root / "file")
    (root / "directory").symlink_to("sub")
    (root / "dangling").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    (root / "escape-absolute").symlink_to(tmp_path / "outside" / "secret")
    (root / "escape-relative").symlink_to("../outside/secret")
    (root / "sub" / "escape-deep").symlink_to("../../outside/secret")
    (root / "escape-root").symlink_to("/etc/passwd")
    (root / "sub" / "to-root").symlink_to("..")
    (root / "absolute-root").symlink_to(root)
    (root / "escape-prefix").symlink_to(f"{root}-other/file")
    (tmp_path / "root-other").mkdir()
    (tmp_path / "root-other" / "file").write_text("a sibling of similar name")
    return root


INSIDE = [
    ("relative", "content"),
    ("sub/up", "content"),
    ("sub/deeper/up2", "below"),
    ("absolute", "below"),
    ("sub/absolute", "content"),
    ("directory/file", "below"),
    ("sub/to-root/file", "content"),
    ("absolute-root/file", "content"),
]
ESCAPING = [
    "escape-absolute",
    "escape-relative",
    "sub/escape-deep",
    "escape-root",
    "escape-prefix",
]


def test_contained_by_default(make_mount: MakeMount, backing: Path, outside: Path) -> None:
    mount = make_mount(backing=backing)
    for name, content in INSIDE:
        assert (mount.path / name).read_text() == content, name
        assert not os.path.isabs(os.readlink(mount.path / name.split("/file")[0])), name
    for name in ESCAPING:
        with fails_with(errno.EPERM):
            os.readlink(mount.path / name)
        with fails_with(errno.EPERM):
            os.open(mount.path / name, os.O_RDONLY)
        assert os.path.islink(mount.path / name)
    assert os.readlink(mount.path / "dangling") == "nowhere"
    with fails_with(errno.ENOENT):
        os.stat(mount.path / "dangling")
    with fails_with(errno.ELOOP):
        os.stat(mount.path / "loop")


def test_links_that_pass_through_the_outside_do_not_escape(
    make_mount: MakeMount, backing: Path, outside: Path
) -> None:
    """``sub/../../root/file`` leaves the root on its way, though it ends inside."""
    (backing / "around").symlink_to("sub/../../outside/../root/file")
    mount = make_mount(backing=backing)
    with fails_with(errno.EPERM):
        os.open(mount.path / "around", os.O_RDONLY)


def test_a_parent_reached_through_a_link_does_not_escape(
    make_mount: MakeMount, backing: Path, outside: Path
) -> None:
    """``..`` after a link counts from where the link leads, not from where it stands."""
    (backing / "sub" / "here").symlink_to("..")
    (backing / "sub" / "deeper" / "trick").symlink_to("../here/../outside/secret")
    mount = make_mount(backing=backing)
    target = mount.path / "sub" / "deeper" / "trick"
    try:
        content = target.read_text()
    except OSError:
        content = ""
    assert content != "secret"


def test_creating_links(make_mount: MakeMount, backing: Path, outside: Path) -> None:
    """Targets are stored on the server as they were given."""
    mount = make_mount(backing=backing)
    for name, target in [
        ("n1", "file"),
        ("n2", "../x/y"),
        ("n3", "sub/deeper"),
        ("n4", "/etc/hosts"),
        ("n5", "a b\n"),
    ]:
        os.symlink(target, mount.path / name)
        assert os.readlink(backing / name) == target
        assert os.path.islink(mount.path / name)
    assert os.readlink(mount.path / "n1") == "file"
    with fails_with(errno.EEXIST):
        os.symlink("x", mount.path / "n1")
    assert os.lstat(mount.path / "n1").st_size == len("file")


def test_unlinking_a_link_leaves_its_target(make_mount: MakeMount, backing: Path) -> None:
    mount = make_mount(backing=backing)
    os.unlink(mount.path / "relative")
    os.unlink(mount.path / "escape-root")
    assert not os.path.lexists(backing / "relative")
    assert not os.path.lexists(backing / "escape-root")
    assert (backing / "file").read_text() == "content"


def test_no_contain_symlinks_passes_targets_as_they_are(
    make_mount: MakeMount, backing: Path, outside: Path
) -> None:
    mount = make_mount("no_contain_symlinks", backing=backing)
    for name in ("relative", "absolute", "escape-absolute", "escape-relative", "escape-root"):
        assert os.readlink(mount.path / name) == os.readlink(backing / name)
    assert (mount.path / "escape-absolute").read_text() == "secret"


def test_transform_symlinks_rewrites_absolute_targets_inside_the_root(
    make_mount: MakeMount, backing: Path, outside: Path
) -> None:
    mount = make_mount("transform_symlinks", backing=backing)
    assert os.readlink(mount.path / "absolute") == "sub/file"
    assert os.readlink(mount.path / "sub" / "absolute") == "../file"
    assert os.readlink(mount.path / "relative") == "file"


def test_follow_symlinks_shows_links_that_lead_nowhere(make_mount: MakeMount, backing: Path) -> None:
    """As links: their directory can be removed, and no link leads out of the mount."""
    directory = backing / "d"
    directory.mkdir()
    (directory / "dead").symlink_to("none")
    (directory / "loop").symlink_to("loop")
    (directory / "out").symlink_to("/nowhere/at/all")
    (directory / "good").symlink_to("f")
    (directory / "f").write_text("f")
    mount = make_mount("follow_symlinks", backing=backing)
    here = mount.path / "d"
    assert sorted(os.listdir(here)) == ["dead", "f", "good", "loop", "out"]
    links = {name for name in os.listdir(here) if (here / name).is_symlink()}
    assert links == {"dead", "loop", "out"}
    assert os.readlink(here / "dead") == "none"
    with fails_with(errno.EPERM):
        os.readlink(here / "out")
    with fails_with(errno.ENOENT):
        (here / "dead").read_text()
    (here / "made").symlink_to("nowhere")
    assert (directory / "made").is_symlink()
    (here / "dead").unlink()
    shutil.rmtree(here)
    assert not directory.exists()


def test_follow_symlinks_shows_no_links(make_mount: MakeMount, backing: Path, outside: Path) -> None:
    mount = make_mount("follow_symlinks", backing=backing)
    for name in ("relative", "absolute", "escape-absolute", "directory"):
        assert not os.path.islink(mount.path / name), name
    assert (mount.path / "escape-absolute").read_text() == "secret"
    assert os.path.isdir(mount.path / "directory")
    assert sorted(os.listdir(mount.path / "directory")) == sorted(os.listdir(backing / "sub"))


def test_a_target_changed_on_the_server_shows_after_the_lease(make_mount: MakeMount, backing: Path) -> None:
    mount = make_mount("dcache_timeout=0", backing=backing)
    assert (mount.path / "relative").read_text() == "content"
    (backing / "relative").unlink()
    (backing / "relative").symlink_to("sub/file")
    assert (mount.path / "relative").read_text() == "below"


def test_mounting_through_a_link_to_the_root(make_mount: MakeMount, backing: Path, tmp_path: Path) -> None:
    """The root may be given by a symbolic link; absolute targets inside it still work."""
    (tmp_path / "alias").symlink_to(backing)
    mount: Mount = make_mount(backing=tmp_path / "alias")
    assert (mount.path / "file").read_text() == "content"
    assert (mount.path / "absolute").read_text() == "below"
