#!/usr/bin/env bash
# Erlang's SFTP server gives one handle to several open files, and the last of them is what it then reads.
#
# Expected: a handle names one open file until it is closed. Seen with erlang-ssh 25.2.3 (ssh-4.15.2): four OPENs of four
# files without a CLOSE between them give the handles 0, 1, 1, 1, and a READ of the second file returns
# the bytes of the fourth. Nothing in a reply tells; a client must refuse a handle that it holds already.
#
# Output seen:
#   handles: 0 1 1 1
#   READ of a, b, c, d: aaa ddd ddd ddd
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
prepare
serve_erlang 1:25.2.3+dfsg-1+deb12u4
for name in a b c d; do printf '%s' "$name$name$name" > "$name"; done
timeout 60 python3 - "$folder" "${ssh[@]}" root@127.0.0.1 -s sftp <<'PYTHON'
import struct, sys
from sftp_client import Client, status
client = Client(sys.argv[2:])
handles = [client.open(f"{sys.argv[1]}/{name}", 1) for name in "abcd"]
read = [client.ask(5, handle, struct.pack(">QI", 0, 10))[1][4:].decode() for handle in handles]
print("handles:", *handles)
print("READ of a, b, c, d:", *read)
sys.exit(read != ["aaa", "ddd", "ddd", "ddd"])
PYTHON
