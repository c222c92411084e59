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
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || :; rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq openssh-sftp-server=1:9.2p1-2+deb12u10 2>/dev/null
dpkg -x ./*.deb root
echo text > file
timeout 60 python3 - "$folder" <<'PYTHON'
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
