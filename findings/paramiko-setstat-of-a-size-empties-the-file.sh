#!/usr/bin/env bash
# paramiko's SFTPServer.set_file_attr leaves zeros of a file that is given a size.
#
# Expected: SETSTAT of a size keeps the bytes before it, as truncate(2) does. Seen with paramiko 5.1.0: the helper that its
# documentation has servers use for SETSTAT and FSETSTAT opens the file with mode "w+", which empties it, and then sets
# the size. The size a client is told behind it is right; only reading shows that the content is gone.
#
# Output seen:
#   before: b'content'
#   after a size of 3 was set: b'\x00\x00\x00'
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
install paramiko==5.1.0
printf content > file
timeout 60 venv/bin/python - <<'PYTHON'
import sys
from paramiko import SFTPAttributes, SFTPServer
before = open("file", "rb").read()
change = SFTPAttributes()
change.st_size = 3
change._flags = SFTPAttributes.FLAG_SIZE
SFTPServer.set_file_attr("file", change)
after = open("file", "rb").read()
print("before:", before)
print("after a size of 3 was set:", after)
sys.exit(after != bytes(3))
PYTHON
