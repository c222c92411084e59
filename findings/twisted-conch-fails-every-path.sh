#!/usr/bin/env bash
# The SFTP server for UNIX users of Twisted Conch 26.10.0 fails every request that has a path.
#
# Expected: its UnixSSHRealm serves the files of the user who logs in. Seen with Twisted 26.10.0, and by hand with 25.5.0
# and 24.11.0: SFTPServerForUnixConchUser._absPath asks the home directory, which getHomeDir() gives as str, for its .path; the
# AttributeError is told to the client as a plain FAILURE (4) for LSTAT, OPEN and OPENDIR of anything.
#
# Output seen:
#   LSTAT, OPENDIR, OPEN of what is there: 4 4 4
#   AttributeError in the server's log: yes
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
prepare
install twisted==26.10.0 bcrypt==5.0.0 pyasn1==0.6.5 cryptography==50.0.2 appdirs==1.4.4
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
await_server
timeout 60 python3 - "$folder" "${ssh[@]}" "$(id -un)@127.0.0.1" -s sftp <<'PYTHON'
import struct, sys
from sftp_client import Client, status
client = Client(sys.argv[2:])
name = sys.argv[1] + "/file"
said = [status(*client.ask(7, name)), status(*client.ask(11, sys.argv[1])), client.open(name, 1)]
reason = "'str' object has no attribute 'path'" in open(sys.argv[1] + "/server.log").read()
print("LSTAT, OPENDIR, OPEN of what is there:", *said)
print("AttributeError in the server's log:", "yes" if reason else "no")
sys.exit(said != [4, 4, 4] or not reason)
PYTHON
