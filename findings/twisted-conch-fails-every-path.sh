#!/usr/bin/env bash
# The SFTP server for UNIX users of Twisted Conch 26.10.0 fails every request that has a path.
#
# Expected: its UnixSSHRealm serves the files of the user who logs in, as earlier releases did. Seen with Twisted 26.10.0:
# SFTPServerForUnixConchUser._absPath asks the home directory, which getHomeDir() gives as str, for its .path; the
# AttributeError is told to the client as a plain FAILURE (4) for LSTAT, OPEN and OPENDIR of anything.
#
# Output seen:
#   LSTAT, OPENDIR, OPEN of what is there: 4 4 4
#   AttributeError in the server's log: yes
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || :; rm -rf "$folder"' EXIT
cd "$folder"
ssh-keygen -q -t ed25519 -N "" -f key
ssh-keygen -q -t ed25519 -N "" -f host
port=$(python3 -c "import socket; s = socket.create_server((\"127.0.0.1\", 0)); print(s.getsockname()[1])")
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check twisted==26.10.0 bcrypt==5.0.0 pyasn1==0.6.5 cryptography==50.0.2 \
    appdirs==1.4.4 2>/dev/null
echo text > file
venv/bin/python - "$folder" $port >server.log 2>&1 <<'PYTHON' &
import getpass, sys
from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.unix import UnixSSHRealm
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.python import log
folder, port = sys.argv[1:]
log.startLogging(sys.stdout)
factory, host = SSHFactory(), Key.fromFile(folder + "/host")
factory.publicKeys, factory.privateKeys = {b"ssh-ed25519": host.public()}, {b"ssh-ed25519": host}
users = InMemorySSHKeyDB({getpass.getuser().encode(): [Key.fromFile(folder + "/key.pub")]})
factory.portal = Portal(UnixSSHRealm(), [SSHPublicKeyChecker(users)])
reactor.listenTCP(int(port), factory, interface="127.0.0.1")
reactor.run()
PYTHON
for _ in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.2; done
ssh=(ssh -i "$folder/key" -p $port -oIdentitiesOnly=yes -oBatchMode=yes -oLogLevel=ERROR -oStrictHostKeyChecking=no
     -oUserKnownHostsFile=/dev/null)
timeout 60 python3 - "$folder" "${ssh[@]}" "$(id -un)@127.0.0.1" -s sftp <<'PYTHON'
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
name = sys.argv[1] + "/file"
said = [status(*client.ask(7, name)), status(*client.ask(11, sys.argv[1])), client.open(name, 1)]
reason = "'str' object has no attribute 'path'" in open(sys.argv[1] + "/server.log").read()
print("LSTAT, OPENDIR, OPEN of what is there:", *said)
print("AttributeError in the server's log:", "yes" if reason else "no")
sys.exit(said != [4, 4, 4] or not reason)
PYTHON
