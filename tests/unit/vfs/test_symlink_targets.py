"""Symbolic links: which targets are shown, rewritten or refused."""

from __future__ import annotations

import errno
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.config import SymlinkPolicy
from sftpfs.vfs.mapping.symlink_targets import shown_target

ROOT = b"/srv/data"
MOUNTPOINT = b"/home/me/mnt"


def shown(
    target: bytes, link: bytes = b"/srv/data/a/link", policy: SymlinkPolicy = SymlinkPolicy.CONTAIN
) -> bytes:
    return shown_target(target, link, ROOT, MOUNTPOINT, policy)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"file", b"file"),
        (b"../file", b"../file"),
        (b"./x/y", b"./x/y"),
        (b"dir/", b"dir/"),
        (b"sub/../x", b"x"),
        (b"../a/../b", b"../b"),
        (b".", b"."),
        (b"..", b".."),
        (b"/srv/data/b/file", b"../b/file"),
        (b"/srv/data/a/file", b"file"),
        (b"/srv/data", b".."),
        (b"/srv/data/a", b"."),
        (b"/srv//data/./b", b"../b"),
        (b"/home/me/mnt/b", b"../b"),
        (b"/home/me/mnt", b".."),
    ],
)
def test_targets_inside_work(target: bytes, expected: bytes) -> None:
    assert shown(target) == expected


@pytest.mark.parametrize(
    "target",
    [
        b"/etc/passwd",
        b"../../x",
        b"../..",
        b"/srv/database",
        b"/srv/data/../x",
        b"/",
        b"/home/me/mnt/../x",
        b"/home/me",
        b"x/../../../y",
    ],
)
def test_targets_that_leave_the_mount_are_refused(target: bytes) -> None:
    with pytest.raises(OSError) as caught:
        shown(target)
    assert caught.value.errno == errno.EPERM


@pytest.mark.parametrize("target", [b"", b"a\0b"])
@pytest.mark.parametrize("policy", list(SymlinkPolicy))
def test_impossible_targets_are_an_error_under_every_policy(target: bytes, policy: SymlinkPolicy) -> None:
    with pytest.raises(OSError) as caught:
        shown(target, policy=policy)
    assert caught.value.errno == errno.EIO


def test_transform_rewrites_inside_and_passes_the_rest() -> None:
    assert shown(b"/srv/data/b", policy=SymlinkPolicy.TRANSFORM) == b"../b"
    assert shown(b"/etc/passwd", policy=SymlinkPolicy.TRANSFORM) == b"/etc/passwd"
    assert shown(b"../../../x", policy=SymlinkPolicy.TRANSFORM) == b"../../../x"


def test_pass_shows_targets_as_they_are() -> None:
    assert shown(b"/etc/passwd", policy=SymlinkPolicy.PASS) == b"/etc/passwd"


def test_a_mount_of_the_whole_server_contains_everything_absolute() -> None:
    shown_path = shown_target(b"/etc/passwd", b"/home/u/link", b"/", MOUNTPOINT, SymlinkPolicy.CONTAIN)
    assert shown_path == b"../../etc/passwd"


COMPONENT = st.sampled_from([b"..", b".", b"", b"a", b"b", b"srv", b"data"])


@given(st.lists(COMPONENT, min_size=1, max_size=8), st.booleans(), st.integers(0, 3))
def test_no_shown_target_climbs_out_wherever_its_names_lead(
    parts: list[bytes], absolute: bool, depth: int
) -> None:
    target = (b"/" if absolute else b"") + b"/".join(parts) or b"."
    link = b"/".join([ROOT, *[b"d"] * depth, b"link"])
    try:
        result = shown(target, link)
    except OSError as refused:
        assert refused.errno == errno.EPERM
        return
    assert not result.startswith(b"/")
    names = [part for part in result.split(b"/") if part not in (b"", b".")]
    leading = 0
    while leading < len(names) and names[leading] == b"..":
        leading += 1
    assert leading <= depth
    assert b".." not in names[leading:]
    folded = posixpath.normpath(posixpath.join(posixpath.dirname(link), result))
    assert folded == ROOT or folded.startswith(ROOT + b"/")
