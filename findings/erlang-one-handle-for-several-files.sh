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
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || :; rm -rf "$folder"' EXIT
cd "$folder"
ssh-keygen -q -t ed25519 -N "" -f key
ssh-keygen -q -t ed25519 -N "" -f host
port=$(python3 -c "import socket; s = socket.create_server((\"127.0.0.1\", 0)); print(s.getsockname()[1])")
apt-get download -qq erlang-{base,ssh,crypto,public-key,asn1}=1:25.2.3+dfsg-1+deb12u4 2>/dev/null
for package in ./*.deb; do dpkg -x "$package" root; done
mkdir system user
cp host system/ssh_host_ed25519_key
cp key.pub user/authorized_keys
for name in a b c d; do printf '%s' "$name$name$name" > "$name"; done
export ROOTDIR=$folder/root/usr/lib/erlang EMU=beam PROGNAME=erl HOME=$folder
export BINDIR=$(echo "$ROOTDIR"/erts-*/bin)
"$BINDIR/erlexec" -noshell -eval "application:ensure_all_started(ssh), {ok, _} = ssh:daemon({127,0,0,1}, $port,
  [{system_dir, \"$folder/system\"}, {user_dir, \"$folder/user\"}, {auth_methods, \"publickey\"},
   {subsystems, [ssh_sftpd:subsystem_spec([{cwd, \"$folder\"}])]}])." >server.log 2>&1 </dev/null &
for _ in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.2; done
ssh=(ssh -i "$folder/key" -p $port -oIdentitiesOnly=yes -oBatchMode=yes -oLogLevel=ERROR -oStrictHostKeyChecking=no
     -oUserKnownHostsFile=/dev/null)
timeout 60 python3 - "$folder" "${ssh[@]}" root@127.0.0.1 -s sftp <<'PYTHON'
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
handles = [client.open(f"{sys.argv[1]}/{name}", 1) for name in "abcd"]
read = [client.ask(5, handle, struct.pack(">QI", 0, 10))[1][4:].decode() for handle in handles]
print("handles:", *handles)
print("READ of a, b, c, d:", *read)
sys.exit(read != ["aaa", "ddd", "ddd", "ddd"])
PYTHON
