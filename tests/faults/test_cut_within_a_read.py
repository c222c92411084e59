"""A file is cut on the server while a read of it is under way: over a link with a delay, so that it is known
what happens before what.

The kernel takes a read's end for the file's only if it has learned nothing of the file's attributes since the
read began, and fills it up with zeros otherwise.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import MakeMount
from tests.harness.delay import DelayProxy
from tests.harness.kernel import opened
from tests.harness.linked import Linked
from tests.sshd import Sshd

ONE_WAY = 0.1
SIZE = 5000


def test_a_read_that_found_the_file_grown_finds_it_cut(
    make_mount: MakeMount, sshd: Sshd, backing: Path, tmp_path: Path
) -> None:
    """What the first answer tells (it is longer) the kernel hears of as the read still goes on; the second is
    of a file of a few bytes. In directories of their own: none is fetched before it is opened."""
    names = [f"d{number}/f" for number in range(3)]
    for name in names:
        (backing / name).parent.mkdir()
        (backing / name).write_bytes(b"x" * SIZE)
    with DelayProxy(sshd.port, one_way=0.001) as link, ThreadPoolExecutor() as pool:
        mount = make_mount(backing=backing, server=Linked(sshd, link, tmp_path))
        for name in names:  # what was read before does not come with the open
            assert (mount.path / name).read_bytes() == b"x" * SIZE
        link.set_delay(ONE_WAY)
        for name in names:
            (backing / name).write_bytes(b"x" * SIZE)
            with opened(mount.path / name, os.O_RDONLY) as fd:
                assert os.fstat(fd).st_size == SIZE
                with open(backing / name, "ab") as file:
                    file.write(b"y" * 1000)
                read = pool.submit(os.pread, fd, 2 * SIZE, 0)
                time.sleep(2 * ONE_WAY)
                (backing / name).write_bytes(b"z" * 16)
                assert b"\0" not in read.result()
            assert (mount.path / name).read_bytes() == b"z" * 16
