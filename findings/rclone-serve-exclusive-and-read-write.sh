#!/usr/bin/env bash
# rclone serve sftp opens a file exclusively although it exists, and answers a READ with status OK.
#
# Expected: OPEN with CREAT|EXCL of a name that exists fails (draft-ietf-secsh-filexfer-02, 6.3), and a READ is answered
# by DATA or by an error. Seen with rclone 1.60.1+dfsg-2+b5 and --vfs-cache-mode full: EXCL is
# not heeded, so two programs may both believe that they made a lock file; and a handle opened for reading and writing
# gives STATUS 0 (OK) without data for every READ, where a client waits for DATA or EOF.
#
# Output seen:
#   OPEN with EXCL of a file that exists: a handle
#   READ by a handle opened for both: status 0
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
prepare
unpack rclone=1.60.1+dfsg-2+b5
mkdir served
echo text > served/file
HOME=$folder root/usr/bin/rclone serve sftp --addr 127.0.0.1:$port --authorized-keys key.pub --vfs-cache-mode full \
    --cache-dir "$folder/cache" "$folder/served" >server.log 2>&1 </dev/null &
await_server
timeout 60 python3 - "${ssh[@]}" anyone@127.0.0.1 -s sftp <<'PYTHON'
import struct, sys
from sftp_client import Client, status
client = Client(sys.argv[1:])
READ, WRITE, CREAT, EXCL = 1, 2, 8, 32
exclusive = client.open("/file", WRITE | CREAT | EXCL)
both = client.open("/file", READ | WRITE)
said = status(*client.ask(5, both, struct.pack(">QI", 0, 10)))
print("OPEN with EXCL of a file that exists:", "a handle" if isinstance(exclusive, str) else f"status {exclusive}")
print("READ by a handle opened for both: status", said)
sys.exit(not (isinstance(exclusive, str) and said == 0))
PYTHON
