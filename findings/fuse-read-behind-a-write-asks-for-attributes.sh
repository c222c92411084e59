#!/usr/bin/env bash
# Linux asks a FUSE file system for a file's attributes before each read that follows a write.
#
# Expected: who has the only open file, and was just told its size, reads without asking for it again. Seen with pyfuse3 3.2.1
# on libfuse 3.14.0, which turns on FUSE_AUTO_INVAL_DATA: a write makes the kernel doubt the attributes, and a read of the
# next byte first asks for them, however long they were said to be valid. The request is that of a stat: what could tell
# them apart (the file handle) is not passed on by pyfuse3. So posix_fallocate of a file that has its size, for which
# glibc reads and writes a byte of each 4 KiB, costs a getattr for each: over a network, a round trip.
#
# Output seen (Linux 6.18):
#   reads alone: 64 reads, 0 getattr
#   a write before each: 64 reads, 64 getattr
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
unpack python3-pyfuse3=3.2.1-2+b2 libfuse3-3=3.14.0-4
install trio==0.35.0
mkdir mnt
cat > files.py <<'PYTHON'
import errno
import stat
import sys
from collections import Counter

import pyfuse3
import trio

FILE = 2
SIZE = 1 << 20


class OneFile(pyfuse3.Operations):
    """A root with one file of zeros; counts what is asked."""

    def __init__(self):
        super().__init__()
        self.asked = Counter()

    def entry(self, inode):
        found = pyfuse3.EntryAttributes()
        found.st_ino = inode
        found.st_mode = stat.S_IFREG | 0o644 if inode == FILE else stat.S_IFDIR | 0o755
        found.st_size = SIZE if inode == FILE else 0
        found.attr_timeout = found.entry_timeout = 300
        return found

    async def getattr(self, inode, ctx=None):
        self.asked["getattr"] += inode == FILE
        return self.entry(inode)

    async def lookup(self, parent, name, ctx=None):
        if name == b"counts":
            print(self.asked["read"], self.asked["getattr"], flush=True)
            self.asked.clear()
        if name != b"file":
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self.entry(FILE)

    async def open(self, inode, flags, ctx):
        return pyfuse3.FileInfo(fh=inode)

    async def read(self, fh, offset, size):
        self.asked["read"] += 1
        return bytes(min(size, SIZE - offset))

    async def write(self, fh, offset, data):
        return len(data)


pyfuse3.init(OneFile(), sys.argv[1], {"fsname=finding"})
trio.run(pyfuse3.main)
PYTHON
export LD_LIBRARY_PATH="$folder/root/usr/lib/$(uname -m)-linux-gnu"
PYTHONPATH="$folder/root/usr/lib/python3/dist-packages" venv/bin/python files.py mnt >counts &
for _ in $(seq 100); do
    if [ -e mnt/file ]; then break; fi
    sleep 0.1
done
status=0
timeout 60 python3 - <<'PYTHON' || status=$?
import os
import sys

fd = os.open("mnt/file", os.O_RDWR)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)


def counts():
    os.path.exists("mnt/counts")
    return list(map(int, open("counts").read().splitlines()[-1].split()))


counts()
for page in range(64):
    os.pread(fd, 1, page * 8192)
alone = counts()
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
for page in range(64):
    os.pwrite(fd, b"x", page * 8192 + 4096)
    os.pread(fd, 1, page * 8192)
mixed = counts()
print(f"reads alone: {alone[0]} reads, {alone[1]} getattr")
print(f"a write before each: {mixed[0]} reads, {mixed[1]} getattr")
sys.exit(not (alone[1] <= 1 and mixed[1] >= 64))
PYTHON
umount -l mnt
exit $status
