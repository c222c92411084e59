"""Owners: the server's ids to the mount's and back."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

from sftpfs.config import IdMapping, OwnershipConfig, UnmappedId
from sftpfs.errors import MountError
from sftpfs.types import UNKNOWN_ID, Attributes, OwnerNames
from sftpfs.vfs.mapping.id_map import MOST_NAMES, IdMap, local_ids

LOCAL = (501, 502)


def attributes(uid: int, gid: int, mode: int = stat.S_IFREG | 0o640) -> Attributes:
    return Attributes(mode, 0, uid, gid, 0, 0)


def learned(config: OwnershipConfig, uid: int = 1000, gid: int = 1001) -> IdMap:
    owners = IdMap(config, LOCAL)
    owners.learn_session(attributes(uid, gid, stat.S_IFDIR | 0o700))
    return owners


def test_user_mapping_swaps_the_logins_ids_and_leaves_others() -> None:
    owners = learned(OwnershipConfig(id_mapping=IdMapping.USER))
    assert owners.show(attributes(1000, 1001))[1:] == LOCAL
    assert owners.show(attributes(7, 8))[1:] == (7, 8)
    assert (owners.remote_uid(501), owners.remote_gid(502)) == (1000, 1001)
    assert (owners.remote_uid(9), owners.remote_gid(9)) == (9, 9)


def test_a_file_it_made_tells_who_the_login_is_where_its_home_is_not_its_own() -> None:
    owners = learned(OwnershipConfig(id_mapping=IdMapping.USER), uid=0, gid=0)
    assert owners.is_ours(attributes(1000, 1001))
    owners.learn_created(attributes(1000, 1001))
    assert owners.session_uid == 1000
    assert owners.show(attributes(1000, 1001))[1:] == LOCAL
    assert owners.is_ours(attributes(1000, 5))
    assert not owners.is_ours(attributes(0, 0))
    owners.learn_created(attributes(UNKNOWN_ID, UNKNOWN_ID))
    assert owners.session_uid == 1000


def test_no_mapping_shows_what_the_server_has() -> None:
    owners = learned(OwnershipConfig(id_mapping=IdMapping.NONE))
    assert owners.show(attributes(1000, 1001))[1:] == (1000, 1001)
    assert owners.remote_uid(501) == 501


def test_ids_the_server_did_not_tell_are_the_mounting_users() -> None:
    assert learned(OwnershipConfig()).show(attributes(UNKNOWN_ID, UNKNOWN_ID))[1:] == LOCAL


def test_uid_gid_and_umask_overrule() -> None:
    owners = learned(OwnershipConfig(uid=1, gid=2, umask=0o027))
    assert owners.show(attributes(1000, 1001, stat.S_IFDIR | 0o111)) == (stat.S_IFDIR | 0o750, 1, 2)


def files(tmp_path: Path) -> tuple[str, str]:
    users, groups = tmp_path / "users", tmp_path / "groups"
    users.write_text("# comment\nroot:1500\n\nnobody-here-of-that-name:1\ndaemon:x:1600:0::/:\n")
    groups.write_text("root:1700\n")
    return str(users), str(groups)


def test_id_files_map_both_ways(tmp_path: Path) -> None:
    users, groups = files(tmp_path)
    config = OwnershipConfig(
        id_mapping=IdMapping.FILE, uid_file=users, gid_file=groups, unmapped=UnmappedId.IGNORE
    )
    owners = IdMap(config, LOCAL)
    assert owners.show(attributes(1500, 1700))[1:] == (0, 0)
    assert owners.show(attributes(1600, 9))[1:] == (1, 9)
    assert (owners.remote_uid(0), owners.remote_gid(0), owners.remote_uid(44)) == (1500, 1700, 44)


def test_an_unmapped_id_is_an_error_where_asked_for(tmp_path: Path) -> None:
    users, groups = files(tmp_path)
    config = OwnershipConfig(id_mapping=IdMapping.FILE, uid_file=users, gid_file=groups)
    owners = IdMap(config, LOCAL)
    for attempt in (lambda: owners.show(attributes(3, 1700)), lambda: owners.remote_uid(44)):
        with pytest.raises(OSError) as caught:
            attempt()
        assert caught.value.errno == errno.EPERM


def test_a_malformed_id_file_is_named_with_its_line(tmp_path: Path) -> None:
    bad = tmp_path / "users"
    for line in ("root", "root:-1", "root:4294967295", "root:99999999999", "root:\u00b2", "a:x:b:c"):
        bad.write_text(f"root:0\n{line}\n")
        with pytest.raises(MountError, match=f"{bad}, line 2"):
            IdMap(OwnershipConfig(id_mapping=IdMapping.FILE, uid_file=str(bad)), LOCAL)
    with pytest.raises(MountError, match="cannot be read"):
        IdMap(OwnershipConfig(id_mapping=IdMapping.FILE, uid_file=str(tmp_path / "none")), LOCAL)


@pytest.mark.parametrize(
    ("session", "mode", "mask", "allowed"),
    [
        (1000, 0o600, 6, True),
        (1000, 0o600, 1, False),
        (1000, 0o477, 2, False),
        (7, 0o640, 4, True),
        (7, 0o604, 4, True),
        (7, 0o600, 4, False),
        (0, 0o000, 6, True),
        (0, 0o000, 1, False),
        (0, 0o001, 1, True),
        (UNKNOWN_ID, 0o000, 7, True),
    ],
)
def test_access_follows_the_mode_bits_of_the_login(session: int, mode: int, mask: int, allowed: bool) -> None:
    owners = learned(OwnershipConfig(), uid=session)
    assert owners.permits(attributes(1000, 1000, stat.S_IFREG | mode), mask) is allowed


def named(unmapped: UnmappedId | None = None) -> IdMap:
    """The server has met users 1 (of 5001) and 2, and 7 without a name; group 8 is 8 here."""
    owners = IdMap(OwnershipConfig(id_mapping=IdMapping.NAME, unmapped=unmapped), LOCAL)
    names = OwnerNames({5001: b"daemon", 2: b"stranger"}, {8: b"mail"})
    owners.learn_names(([5001, 2, 7], [8]), names, ({5001: 1}, {8: 8}))
    return owners


def test_names_map_both_ways_and_are_asked_for_once() -> None:
    owners = named()
    assert owners.show(attributes(5001, 8))[1:] == (1, 8)
    assert (owners.remote_uid(1), owners.remote_gid(8)) == (5001, 8)
    assert owners.unnamed([attributes(5001, 8), attributes(7, 9), attributes(UNKNOWN_ID, 8)]) == ([], [9])
    assert owners.unmapped_here([1, 2, 3], [8, 4]) == ([3], [4])


def test_names_nobody_has_here() -> None:
    owners = named()
    assert owners.show(attributes(2, 8))[1] == 2
    assert owners.remote_uid(7) == 7
    with pytest.raises(PermissionError):
        owners.remote_uid(2)  # the server's 2 is somebody else
    strict = named(UnmappedId.ERROR)
    for attempt in (lambda: strict.show(attributes(2, 8)), lambda: strict.remote_uid(7)):
        with pytest.raises(PermissionError):
            attempt()


def test_the_login_is_the_mounting_user_unless_a_name_says_otherwise() -> None:
    owners = named()
    owners.learn_session(attributes(2, 8))
    assert owners.show(attributes(2, 8))[1:] == (LOCAL[0], 8)
    assert owners.remote_uid(LOCAL[0]) == 2
    owners.learn_session(attributes(5001, 8))
    assert owners.show(attributes(5001, 8))[1] == 1


def test_a_server_with_any_number_of_owners_is_not_asked_for_all() -> None:
    owners = IdMap(OwnershipConfig(id_mapping=IdMapping.NAME), LOCAL)
    uids, _ = owners.unnamed([attributes(uid, 0) for uid in range(3 * MOST_NAMES)])
    assert len(uids) == MOST_NAMES
    owners.learn_names((uids, []), OwnerNames({}, {}), ({}, {}))
    assert owners.unnamed([attributes(5 * MOST_NAMES, 0)]) == ([], [0])


def test_names_that_cannot_be_are_nobodys() -> None:
    hostile = {1: b"root\0", 2: b"\xff", 3: b"no-such-user-here", 4: b"root"}
    assert local_ids(OwnerNames(hostile, hostile)) == ({4: 0}, {4: 0})


@pytest.mark.parametrize(
    ("mapping", "session", "others", "words"),
    [
        (IdMapping.USER, 1000, False, None),
        (IdMapping.USER, 1000, True, "other users"),
        (IdMapping.USER, 0, True, None),
        (IdMapping.NONE, 1000, False, "uid 1000"),
        (IdMapping.NONE, LOCAL[0], False, None),
        (IdMapping.NONE, UNKNOWN_ID, True, None),
        (IdMapping.FILE, 1000, False, "no id file"),
        (IdMapping.NAME, 1000, False, None),
    ],
)
def test_a_note_where_files_will_be_somebody_elses(
    mapping: IdMapping, session: int, others: bool, words: str | None
) -> None:
    note = learned(OwnershipConfig(id_mapping=mapping), uid=session).note_of_owner(others)
    assert note is None if words is None else note is not None and words in note
    assert learned(OwnershipConfig(id_mapping=mapping, uid=5), uid=session).note_of_owner(others) is None
