"""paramiko's SFTP server over the local file system, for one key."""

import os
import socket
import sys
import threading

import paramiko
from paramiko import SFTPAttributes, SFTPHandle, SFTPServer, SFTPServerInterface
from paramiko.sftp import SFTP_OK


class Login(paramiko.ServerInterface):
    """One key, whatever the user."""

    def __init__(self, key: str) -> None:
        self.key = key

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """Ours or none."""
        return paramiko.AUTH_SUCCESSFUL if key.get_base64() == self.key else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        """Keys."""
        return "publickey"

    def check_channel_request(self, kind: str, number: int) -> int:
        """Every session."""
        return paramiko.OPEN_SUCCEEDED


class Handle(SFTPHandle):
    """An open file. Reads and writes are SFTPHandle's own."""

    def stat(self) -> object:
        """FSTAT."""
        return answer(lambda: SFTPAttributes.from_stat(os.fstat(self.readfile.fileno())))

    def chattr(self, attributes: SFTPAttributes) -> int:
        """FSETSTAT."""
        return answer(lambda: SFTPServer.set_file_attr(self.filename, attributes))


def answer(action) -> object:
    """What it gives, or the status of its error."""
    try:
        given = action()
    except OSError as problem:
        return SFTPServer.convert_errno(problem.errno)
    return SFTP_OK if given is None else given


class Files(SFTPServerInterface):
    """The local file system."""

    def list_folder(self, path):
        """A directory, as a whole."""

        def entries():
            found = []
            for name in os.listdir(path):
                entry = SFTPAttributes.from_stat(os.lstat(os.path.join(path, name)))
                entry.filename = name
                found.append(entry)
            return found

        return answer(entries)

    def stat(self, path):
        """STAT."""
        return answer(lambda: SFTPAttributes.from_stat(os.stat(path)))

    def lstat(self, path):
        """LSTAT."""
        return answer(lambda: SFTPAttributes.from_stat(os.lstat(path)))

    def open(self, path, flags, attributes):
        """OPEN, with the mode that is asked for."""
        mode = attributes.st_mode if attributes.st_mode is not None else 0o666
        return answer(lambda: self._open(path, flags, mode))

    def _open(self, path, flags, mode):
        descriptor = os.open(path, flags, mode)
        if flags & os.O_CREAT:
            attributes = SFTPAttributes()
            attributes._flags &= ~attributes.FLAG_PERMISSIONS
        how = "ab" if flags & os.O_APPEND else "wb"
        if flags & os.O_RDWR:
            how = "a+b" if flags & os.O_APPEND else "r+b"
        elif not flags & os.O_WRONLY:
            how = "rb"
        file = os.fdopen(descriptor, how)
        handle = Handle(flags)
        handle.filename = path
        handle.readfile = handle.writefile = file
        return handle

    def remove(self, path):
        """REMOVE."""
        return answer(lambda: os.remove(path))

    def rename(self, old, new):
        """RENAME, which replaces here."""
        return answer(lambda: os.rename(old, new))

    def posix_rename(self, old, new):
        """posix-rename@openssh.com."""
        return answer(lambda: os.replace(old, new))

    def mkdir(self, path, attributes):
        """MKDIR."""

        def make():
            os.mkdir(path)
            SFTPServer.set_file_attr(path, attributes)

        return answer(make)

    def rmdir(self, path):
        """RMDIR."""
        return answer(lambda: os.rmdir(path))

    def chattr(self, path, attributes):
        """SETSTAT."""
        return answer(lambda: SFTPServer.set_file_attr(path, attributes))

    def symlink(self, target, path):
        """SYMLINK."""
        return answer(lambda: os.symlink(target, path))

    def readlink(self, path):
        """READLINK."""
        return answer(lambda: os.readlink(path))


def serve(connection: socket.socket, host_key: paramiko.PKey, client_key: str) -> None:
    """One connection."""
    transport = paramiko.Transport(connection)
    transport.add_server_key(host_key)
    transport.set_subsystem_handler("sftp", SFTPServer, Files)
    try:
        transport.start_server(server=Login(client_key))
    except (EOFError, paramiko.SSHException):
        transport.close()


def main(port: str, host_key: str, client_key: str, _served: str) -> None:
    """Until we are ended."""
    key = paramiko.Ed25519Key.from_private_key_file(host_key)
    with open(client_key) as file:
        client = file.read().split()[1]
    with socket.create_server(("127.0.0.1", int(port)), backlog=64) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, key, client), daemon=True).start()


main(*sys.argv[1:])
