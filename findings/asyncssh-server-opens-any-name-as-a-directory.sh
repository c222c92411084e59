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
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || :; rm -rf "$folder"' EXIT
cd "$folder"
ssh-keygen -q -t ed25519 -N "" -f key
ssh-keygen -q -t ed25519 -N "" -f host
port=$(python3 -c "import socket; s = socket.create_server((\"127.0.0.1\", 0)); print(s.getsockname()[1])")
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check asyncssh==2.24.1 2>/dev/null
echo text > file
venv/bin/python - "$folder" $port >server.log 2>&1 <<'PYTHON' &
import asyncio, asyncssh, sys
async def serve(folder, port):
    await asyncssh.listen("127.0.0.1", int(port), server_host_keys=[folder + "/host"],
                          authorized_client_keys=folder + "/key.pub", sftp_factory=True)
    await asyncio.Event().wait()
asyncio.run(serve(*sys.argv[1:]))
PYTHON
for _ in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.2; done
ssh=(ssh -i "$folder/key" -p $port -oIdentitiesOnly=yes -oBatchMode=yes -oLogLevel=ERROR -oStrictHostKeyChecking=no
     -oUserKnownHostsFile=/dev/null)
timeout 60 python3 - "$folder" "${ssh[@]}" anyone@127.0.0.1 -s sftp <<'PYTHON'
import struct, subprocess, sys
class Client:
    """The few SFTP v3 requests needed, one at a time, over a command's standard streams."""
    def __init__(self, argv):
        self.peer = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.number = 0
        self.send(b"\x01" + struct.pack(">I", 3))
        self.receive()
    def send(self, body):
        self.peer.stdin.write(struct.pack(">I", len(body)) + body)
        self.peer.stdin.flush()
    def receive(self):
        size, = struct.unpack(">I", self.peer.stdout.read(4))
        body = self.peer.stdout.read(size)
        return body[0], body[5:]
    def ask(self, kind, *fields):
        self.number += 1
        packed = [f if isinstance(f, bytes) else struct.pack(">I", len(f)) + f.encode("latin1") for f in fields]
        self.send(bytes([kind]) + struct.pack(">I", self.number) + b"".join(packed))
        return self.receive()
    def open(self, name, flags):
        kind, body = self.ask(3, name, struct.pack(">II", flags, 0))
        return body[4:].decode("latin1") if kind == 102 else status(kind, body)
def status(kind, body):
    return struct.unpack(">I", body[:4])[0] if kind == 101 else f"type {kind}"
client = Client(sys.argv[2:])
same = True
for name in ("missing", "file"):
    kind, body = client.ask(11, f"{sys.argv[1]}/{name}")
    read = status(*client.ask(12, body[4:].decode("latin1"))) if kind == 102 else None
    print(f"{name}: OPENDIR {status(kind, body)}, READDIR status {read}")
    same = same and kind == 102 and read == 2
sys.exit(not same)
PYTHON
