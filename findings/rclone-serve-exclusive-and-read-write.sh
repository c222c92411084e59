#!/usr/bin/env bash
# rclone serve sftp opens a file exclusively although it exists, and answers a READ with status OK.
#
# Expected: OPEN with CREAT|EXCL of a name that exists fails (draft-ietf-secsh-filexfer-02, 6.3), and a READ is answered
# by DATA or by an error. Seen with rclone 1.60.1+dfsg-2+b5 and --vfs-cache-mode full: EXCL is
# not heeded, so two programs both hold one lock file; and a handle opened for reading and writing
# gives STATUS 0 (OK) without data for every READ, where a client waits for DATA or EOF.
#
# Output seen:
#   OPEN with EXCL of a file that exists: a handle
#   READ by a handle opened for both: status 0
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || :; rm -rf "$folder"' EXIT
cd "$folder"
ssh-keygen -q -t ed25519 -N "" -f key
ssh-keygen -q -t ed25519 -N "" -f host
port=$(python3 -c "import socket; s = socket.create_server((\"127.0.0.1\", 0)); print(s.getsockname()[1])")
apt-get download -qq rclone=1.60.1+dfsg-2+b5 2>/dev/null
dpkg -x ./*.deb root
mkdir served
echo text > served/file
HOME=$folder root/usr/bin/rclone serve sftp --addr 127.0.0.1:$port --authorized-keys key.pub --vfs-cache-mode full \
    --cache-dir "$folder/cache" "$folder/served" >server.log 2>&1 </dev/null &
for _ in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.2; done
ssh=(ssh -i "$folder/key" -p $port -oIdentitiesOnly=yes -oBatchMode=yes -oLogLevel=ERROR -oStrictHostKeyChecking=no
     -oUserKnownHostsFile=/dev/null)
timeout 60 python3 - "${ssh[@]}" anyone@127.0.0.1 -s sftp <<'PYTHON'
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
client = Client(sys.argv[1:])
READ, WRITE, CREAT, EXCL = 1, 2, 8, 32
exclusive = client.open("/file", WRITE | CREAT | EXCL)
both = client.open("/file", READ | WRITE)
said = status(*client.ask(5, both, struct.pack(">QI", 0, 10)))
print("OPEN with EXCL of a file that exists:", "a handle" if isinstance(exclusive, str) else f"status {exclusive}")
print("READ by a handle opened for both: status", said)
sys.exit(not (isinstance(exclusive, str) and said == 0))
PYTHON
