"""Twisted Conch's SFTP server for users of Unix, for one key."""

import sys

from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.unix import UnixConchUser, UnixSSHRealm
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.python import log
from twisted.python.filepath import FilePath


def main(port: str, host_key: str, client_key: str, served: str) -> None:
    """Until we are ended."""
    log.startLogging(sys.stdout)
    # Its SFTP server takes getHomeDir() to give this; its own, a str, fails every request with a path.
    UnixConchUser.getHomeDir = lambda _user: FilePath(served)
    factory, host = SSHFactory(), Key.fromFile(host_key)
    factory.publicKeys, factory.privateKeys = {b"ssh-ed25519": host.public()}, {b"ssh-ed25519": host}
    users = InMemorySSHKeyDB({b"root": [Key.fromFile(client_key)]})
    factory.portal = Portal(UnixSSHRealm(), [SSHPublicKeyChecker(users)])
    reactor.listenTCP(int(port), factory, interface="127.0.0.1", backlog=64)
    reactor.run()


main(*sys.argv[1:])
