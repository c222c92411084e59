"""/proc/locks as proc_locks(5) describes it, and a claim that is seen there."""

from __future__ import annotations

import math
import os
from pathlib import Path

from sftpfs.host import mount_lock
from sftpfs.host.mountpoint import filesystem_of

TEXT = """\
1: POSIX  ADVISORY  WRITE 11 fe:00:77 0 EOF
2: FLOCK  ADVISORY  READ 12 fe:00:77 0 EOF
2: -> FLOCK  ADVISORY  WRITE 13 fe:00:77 0 EOF
3: FLOCK  ADVISORY  WRITE 14 fe:00:77 0 EOF
4: FLOCK  ADVISORY  READ 15 fe:00:777 0 EOF
5: FLOCK  ADVISORY  READ 16 00:2a:77 0 EOF
6: FLOCK  ADVISORY  READ 17 fe:00:77 0 EOF
7: LEASE  ACTIVE    READ 18 fe:00:77 0 EOF
"""


def test_only_shared_locks_of_the_directory_count() -> None:
    assert mount_lock.holders(TEXT, "254:0", 77) == [12, 17]
    assert mount_lock.holders(TEXT, "0:42", 77) == [16]
    assert mount_lock.holders("", "0:42", 77) == []


def test_a_claim_is_seen_while_it_is_held(tmp_path: Path) -> None:
    path = str(tmp_path.resolve())

    def seen() -> list[int]:
        return mount_lock.holders(
            Path(mount_lock.LOCKS).read_text(), filesystem_of(path), os.stat(path).st_ino
        )

    with mount_lock.claimed(path):
        assert seen() == [os.getpid()]
        mount_lock.wait_for_end(
            path, os.getuid() + 1, None, math.inf, [].append
        )  # another user's lock is not waited for
    assert seen() == []
    mount_lock.wait_for_end(path, os.getuid(), None, math.inf, [].append)


def test_what_cannot_be_claimed_is_let_be(tmp_path: Path) -> None:
    with mount_lock.claimed(str(tmp_path / "missing")):
        pass
