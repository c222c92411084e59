"""OpenSSH's server: as it is, told to do less, and in front of SFTP servers that are but programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tests.servers.packages import Packages
from tests.servers.server import Server
from tests.sshd import SFTP_SERVER, Sshd

EXTENSIONS = (
    "posix-rename,statvfs,fstatvfs,hardlink,fsync,lsetstat,limits,expand-path,copy-data,home-directory"
)

DRAFT = (
    "open,close,read,write,lstat,fstat,stat,setstat,fsetstat,opendir,readdir,remove,mkdir,rmdir,realpath,"
    "rename,readlink,symlink"
)
"""What version 3 of the protocol has."""

WITHOUT_EXTENSIONS = ("no hard links", "no statvfs", "no attributes of links")


class OpenSsh(Server):
    """sshd with ``subsystem`` as its SFTP server."""

    subsystem: ClassVar[str] = SFTP_SERVER
    needs = ("usr/sbin/sshd", SFTP_SERVER[1:])

    def subsystem_command(self, served: Path) -> str:
        """The line of sshd_config."""
        return self.subsystem

    @contextmanager
    def running(self, served: Path) -> Iterator[None]:
        """Serve until the block ends."""
        with Sshd(self.folder / "sshd", subsystem=self.subsystem_command(served), port=self.port) as sshd:
            sshd.authorize(self.public_key)
            self.host_key = sshd.host_keys[0]
            yield


class Umask077(OpenSsh):
    """New files are their owner's alone, whatever was asked for."""

    subsystem = f"{SFTP_SERVER} -u 077"
    traits = ("umask of the server",)


class NoExtensions(OpenSsh):
    """A server of the protocol as it was drafted."""

    subsystem = f"{SFTP_SERVER} -P {EXTENSIONS}"
    traits = WITHOUT_EXTENSIONS


class DraftOnly(OpenSsh):
    """The same, told from the other side."""

    subsystem = f"{SFTP_SERVER} -p {DRAFT}"
    traits = WITHOUT_EXTENSIONS


REFUSABLE = {
    "lstat": ("LSTAT follows links",),
    "fstat": (),
    "stat": (),
    "setstat": ("no SETSTAT",),
    "fsetstat": (),
    "setstat,fsetstat": ("no SETSTAT",),
    "realpath": (),
    "readlink": ("no readlink",),
    "symlink": ("no symlink",),
    "rename": (),
    "posix-rename": (),
    "remove": ("no remove",),
    "mkdir": ("no mkdir",),
    "rmdir": ("no rmdir",),
    "statvfs": ("no statvfs",),
    "fstatvfs": (),
    "hardlink": ("no hard links",),
    "fsync": (),
    "lsetstat": ("no attributes of links",),
    "limits": (),
    "expand-path": (),
    "copy-data": (),
    "home-directory": (),
    "users-groups-by-id": (),
}
"""Each request that sftp-server can refuse and a mount live without → what no mount can do then."""


def refusing(requests: str) -> type[OpenSsh]:
    """A server that refuses these requests."""
    members = {"subsystem": f"{SFTP_SERVER} -P {requests}", "traits": REFUSABLE[requests]}
    return type(f"Refusing_{requests.replace(',', '_')}", (OpenSsh,), members)


class ProgramOfItsOwn(OpenSsh):
    """An SFTP server that takes no words, begun where a stray link is nobody's: not at home."""

    def subsystem_command(self, served: Path) -> str:
        """A script."""
        script = self.folder / "server"
        script.write_text(f"#!/bin/sh\ncd {self.folder}\nexec {self.found(self.needs[0])}\n")
        script.chmod(0o755)
        return str(script)


class Gesftpserver(ProgramOfItsOwn):
    """Green End's SFTP server."""

    packages = Packages(debian=("gesftpserver",))
    needs = ("usr/libexec/gesftpserver",)
    traits = ("no attributes of links",)


class LshSftp(ProgramOfItsOwn):
    """The SFTP server of GNU lsh. Its sshd speaks only SHA-1, so OpenSSH's stands before it."""

    packages = Packages(debian=("lsh-server",))
    needs = ("usr/lib/lsh-server/sftp-server",)
    traits = (*WITHOUT_EXTENSIONS, "no times")


MYSECURESHELL = """
<Default>
StayAtHome false
VirtualChroot false
LimitConnection 0
LimitConnectionByUser 0
LimitConnectionByIP 0
Home /
ShowLinksAsLinks true
HideNoAccess false
LogFile {folder}/mysecureshell.log
</Default>
"""


class MySecureShell(OpenSsh):
    """An SFTP server with a configuration of its own, /etc/ssh/sftp_config."""

    packages = Packages(debian=("mysecureshell",))
    needs = ("usr/bin/mysecureshell",)
    traits = (*WITHOUT_EXTENSIONS, "other targets", "handles go by names")

    def subsystem_command(self, served: Path) -> str:
        """As a login shell that is asked for SFTP; in a namespace where its configuration is."""
        configuration = self.folder / "sftp_config"
        configuration.write_text(MYSECURESHELL.format(folder=self.folder))
        program = self.found("usr/bin/mysecureshell")
        script = self.folder / "mysecureshell"
        script.write_text(
            "#!/bin/sh\nset -e\n"
            'if [ -z "$APART" ]; then APART=1 exec unshare --mount --propagation private "$0"; fi\n'
            "mount -t tmpfs tmpfs /etc/ssh\n"
            f"cp {configuration} /etc/ssh/sftp_config\n"
            f"exec {program} -c sftp-server\n"
        )
        script.chmod(0o755)
        return str(script)


PERL = """use strict;
use Net::SFTP::SftpServer;
$ENV{HOME} = '%s'; # what is below it may be served as it is
Net::SFTP::SftpServer->new(home => '%s')->run;
"""


class Perl(OpenSsh):
    """Net::SFTP::SftpServer."""

    packages = Packages(debian=("libnet-sftp-sftpserver-perl", "libstat-lsmode-perl"))
    needs = ("usr/share/perl5/Net/SFTP/SftpServer.pm",)
    traits = (*WITHOUT_EXTENSIONS, "no SETSTAT", "no links", "no modes")

    def subsystem_command(self, served: Path) -> str:
        """The module in a program of one line."""
        library = self.found("usr/share/perl5/Net/SFTP/SftpServer.pm").parents[2]
        program = self.folder / "server.pl"
        program.write_text(PERL % (served.parent, served))
        return f"perl -I{library} {program}"

    def path_of(self, served: Path) -> str:
        """A jail: it is /."""
        return "/"
