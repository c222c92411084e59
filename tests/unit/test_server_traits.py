"""What is assumed of a server at first, and what stays of it."""

from __future__ import annotations

from dataclasses import fields

import pytest

from sftpfs.doctor.server_trial import MEANS
from sftpfs.server_traits import LACKS, OPENSSH, ServerTraits, Traits, first_assumption

COMMON = ["posix-rename@openssh.com", "statvfs@openssh.com", "hardlink@openssh.com"]
OLD = [*COMMON, "fstatvfs@openssh.com"]
NEW = [*OLD, "fsync@openssh.com", "lsetstat@openssh.com", "limits@openssh.com", "copy-data"]


@pytest.mark.parametrize(
    ("extensions", "software", "known"),
    [
        (NEW, "OpenSSH_9.2p1 Debian-2", OPENSSH),
        (OLD, "OpenSSH_5.3", OPENSSH),
        (NEW, "dropbear_2022.83", OPENSSH),
        (NEW, "", OPENSSH),
        (COMMON, "OpenSSH_9.2p1", Traits()),
        ([], "OpenSSH_9.2p1", Traits()),
        (COMMON, "Go", Traits()),
        (COMMON, "rclone/v1.60.1", Traits(writes_anywhere=False, handles_outlive_names=False)),
        (["check-file"], "paramiko_5.1.0", Traits(resizes_in_place=False)),
        (NEW, "AsyncSSH_2.14.0", Traits()),
        ([*OLD, "vendor-id"], "mod_sftp", Traits()),
        ([*NEW, "newline"], "", Traits()),
    ],
)
def test_what_a_server_says_of_itself(extensions: list[str], software: str, known: Traits) -> None:
    assert first_assumption(extensions, software) == known


def test_what_was_contradicted_stays_so() -> None:
    traits = ServerTraits()
    traits.met(NEW, "OpenSSH_9.2p1")
    traits.contradict("carries_out_in_order", "a size of 0 after 5,000 bytes were written")
    traits.contradict("carries_out_in_order", "again")
    assert not traits.known.carries_out_in_order
    traits.met(NEW, "OpenSSH_9.2p1")
    assert not traits.known.carries_out_in_order and traits.known.honours_exclusive
    assert traits.contradicted == {"carries_out_in_order": "a size of 0 after 5,000 bytes were written"}


def test_every_trait_has_its_words() -> None:
    assert set(LACKS) == set(MEANS) == {field.name for field in fields(Traits)}


def test_what_is_granted_is_doubted_until_it_was_seen() -> None:
    traits = ServerTraits()
    traits.met(NEW, "OpenSSH_9.2p1")
    assert not traits.doubtful("appends")
    traits.met(COMMON, "Go")
    assert traits.doubtful("appends") and not traits.doubtful("honours_exclusive")
    traits.seen(["appends"])
    assert not traits.doubtful("appends")
    traits.contradict("takes_exclusive", "a refusal that went away without it")
    assert not traits.doubtful("takes_exclusive")
