#!/usr/bin/env bash
# The SFTP server of asyncssh opens any name as a directory, also a missing one and a regular file.
#
# Expected: OPENDIR of what is no directory fails, as with OpenSSH. Seen with asyncssh 2.24.1: OPENDIR always gives a
# handle; the error (NO_SUCH_FILE for a regular file, too) comes with the first READDIR. A client that takes a handle
# for proof of a directory, or sends READDIR only when somebody reads, is told of directories that are none.
#
# Output seen:
#   missing: OPENDIR type 102, READDIR status 2
#   file: OPENDIR type 102, READDIR status 2
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
prepare
install asyncssh==2.24.1
echo text > file
venv/bin/python - "$folder" $port >server.log 2>&1 <<'PYTHON' &
import asyncio, asyncssh, sys
async def serve(folder, port):
    await asyncssh.listen("127.0.0.1", int(port), server_host_keys=[folder + "/host"],
                          authorized_client_keys=folder + "/key.pub", sftp_factory=True)
    await asyncio.Event().wait()
asyncio.run(serve(*sys.argv[1:]))
PYTHON
await_server
timeout 60 python3 - "$folder" "${ssh[@]}" anyone@127.0.0.1 -s sftp <<'PYTHON'
import struct, sys
from sftp_client import Client, status
client = Client(sys.argv[2:])
same = True
for name in ("missing", "file"):
    kind, body = client.ask(11, f"{sys.argv[1]}/{name}")
    read = status(*client.ask(12, body[4:].decode("latin1"))) if kind == 102 else None
    print(f"{name}: OPENDIR {status(kind, body)}, READDIR status {read}")
    same = same and kind == 102 and read == 2
sys.exit(not same)
PYTHON
