#!/usr/bin/env bash
# OpenSSH's sftp-server says NO_SUCH_FILE (2) of names and handles that are there.
#
# Expected: status 2 means that a name is missing. Seen with openssh-sftp-server 9.2p1-2+deb12u10: it maps ENOTDIR and
# EBADF to 2 as well as ENOENT. OPENDIR or RMDIR of a regular file gets 2, and so does a READ from a handle
# that was opened for writing alone. A client that takes 2 for "gone" drops a file that is there.
#
# Output seen:
#   OPENDIR of a file: 2
#   RMDIR of a file: 2
#   READ from a handle opened for writing: 2
#   LSTAT of the same name: type 105
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
unpack openssh-sftp-server=1:9.2p1-2+deb12u10
echo text > file
timeout 60 python3 - "$folder" <<'PYTHON'
import struct, sys
from sftp_client import Client, status
client = Client([sys.argv[1] + "/root/usr/lib/openssh/sftp-server"])
name = sys.argv[1] + "/file"
seen = {
    "OPENDIR of a file": status(*client.ask(11, name)),
    "RMDIR of a file": status(*client.ask(15, name)),
    "READ from a handle opened for writing": status(*client.ask(5, client.open(name, 2), struct.pack(">QI", 0, 10))),
    "LSTAT of the same name": status(*client.ask(7, name)),
}
for what, said in seen.items():
    print(f"{what}: {said}")
sys.exit(list(seen.values()) != [2, 2, 2, "type 105"])
PYTHON
