#!/usr/bin/env bash
# Erlang's SFTP server empties a file that is opened to be written, though nobody asked it to.
#
# Expected: OPEN with WRITE and without TRUNC leaves what is there (draft-ietf-secsh-filexfer-02, 6.3). Seen with erlang-ssh
# 25.2.3 (ssh-4.15.2): the flags go to file:open as they are, and [write] alone truncates there. Opened with READ and
# WRITE the file keeps its bytes, also where it is written then.
#
# Output seen:
#   OPEN with WRITE, CLOSE: 0 bytes of 7 left
#   OPEN with READ and WRITE, CLOSE: 7 bytes of 7 left
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
prepare
serve_erlang 1:25.2.3+dfsg-1+deb12u4
timeout 60 python3 - "$folder" "${ssh[@]}" root@127.0.0.1 -s sftp <<'PYTHON'
import os, sys
from sftp_client import Client
client, name = Client(sys.argv[2:]), sys.argv[1] + "/file"
left = []
for said, flags in (("WRITE", 2), ("READ and WRITE", 1 | 2)):
    with open(name, "w") as file:
        file.write("content")
    client.ask(4, client.open(name, flags))
    left.append(os.path.getsize(name))
    print(f"OPEN with {said}, CLOSE: {left[-1]} bytes of 7 left")
sys.exit(left != [0, 7])
PYTHON
