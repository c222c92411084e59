#!/usr/bin/env bash
# rclone serve sftp makes a file whose name has a newline, and then has no file of that name.
#
# Expected: a name that OPEN took is found by LSTAT, or OPEN refuses it. Seen with rclone 1.60.1+dfsg-2+b5, over a local
# directory and --dir-cache-time 0s: OPEN, WRITE and CLOSE are answered OK and the file is there, but LSTAT of the name says that there is none, for
# READDIR and LSTAT know it as another name, with U+240A in place of the newline.
#
# Output seen:
#   OPEN, WRITE, CLOSE: a handle, 0, 0
#   on the disk: 'new\nline'
#   LSTAT of the same name: status 2
#   LSTAT with U+240A in place of the newline: it is there
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
prepare
unpack rclone=1.60.1+dfsg-2+b5
mkdir served
HOME=$folder root/usr/bin/rclone serve sftp --addr 127.0.0.1:$port --authorized-keys key.pub \
    --dir-cache-time 0s "$folder/served" >server.log 2>&1 </dev/null &
await_server
timeout 60 python3 - "$folder/served" "${ssh[@]}" anyone@127.0.0.1 -s sftp <<'PYTHON'
import os, struct, sys
from sftp_client import Client, status
client, name = Client(sys.argv[2:]), "/new\nline"
handle = client.open(name, 2 | 8 | 16)
written = status(*client.ask(6, handle, struct.pack(">Q", 0), "text"))
closed = status(*client.ask(4, handle))
looked = status(*client.ask(7, name))
other, _ = client.ask(7, "/new\N{SYMBOL FOR LINE FEED}line".encode().decode("latin1"))
print(f"OPEN, WRITE, CLOSE: {'a handle' if isinstance(handle, str) else handle}, {written}, {closed}")
print("on the disk:", *map(repr, os.listdir(sys.argv[1])))
print("LSTAT of the same name: status", looked)
print("LSTAT with U+240A in place of the newline:", "it is there" if other == 105 else "no")
sys.exit(not ((written, closed, looked) == (0, 0, 2) and other == 105))
PYTHON
