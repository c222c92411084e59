"""SSH servers of their own making, as Debian packages them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

from tests.servers.openssh import WITHOUT_EXTENSIONS
from tests.servers.packages import Packages, Store
from tests.servers.server import Server
from tests.sshd import SFTP_SERVER

HOME_OF_ROOT = """
mount -t tmpfs -o mode=700 tmpfs /root
mkdir -m 700 /root/.ssh
cp "{keys}" /root/.ssh/authorized_keys
"""
"""For servers that read the keys of a user from where the user database says."""


class Dropbear(Server):
    """dropbear, which starts OpenSSH's sftp-server."""

    packages = Packages(debian=("dropbear-bin", "libtomcrypt1", "libtommath1"))
    needs = ("usr/sbin/dropbear", "usr/bin/dropbearkey", SFTP_SERVER[1:])

    def script(self) -> str:
        """Root's keys."""
        return HOME_OF_ROOT.format(keys=self.authorized_keys)

    def environment(self) -> dict[str, str]:
        """Its libraries may be unpacked beside it."""
        return {"HOME": "/root", "LD_LIBRARY_PATH": str(self.store.root / "usr/lib/x86_64-linux-gnu")}

    def command(self, served: Path) -> list[str | Path]:
        """With a host key in its own form."""
        key = self.folder / "dropbear_key"
        words = [str(self.found("usr/bin/dropbearkey")), "-t", "ed25519", "-f", str(key)]
        made = subprocess.run(
            words, capture_output=True, text=True, check=True, env=os.environ | self.environment()
        )
        public = next(line for line in made.stdout.splitlines() if line.startswith("ssh-"))
        self.host_key.with_suffix(".pub").write_text(public)
        program = self.found("usr/sbin/dropbear")
        return [
            program,
            "-F",
            "-E",
            "-s",
            "-r",
            key,
            "-p",
            f"127.0.0.1:{self.port}",
            "-P",
            self.folder / "pid",
        ]


class Tinysshd(Server):
    """tinysshd, behind socat, which starts OpenSSH's sftp-server."""

    packages = Packages(debian=("tinysshd",))
    needs = ("usr/sbin/tinysshd", "usr/sbin/tinysshd-makekey", "usr/bin/socat", SFTP_SERVER[1:])

    def script(self) -> str:
        """Root's keys."""
        return HOME_OF_ROOT.format(keys=self.authorized_keys)

    def command(self, served: Path) -> list[str | Path]:
        """One process for each connection."""
        keys = self.folder / "keys"
        subprocess.run([self.found("usr/sbin/tinysshd-makekey"), keys], check=True, capture_output=True)
        public = subprocess.run(
            [self.found("usr/sbin/tinysshd-printkey"), keys], check=True, capture_output=True, text=True
        ).stdout
        line = next(line for line in public.splitlines() if line.startswith("ssh-ed25519 "))
        self.host_key.with_suffix(".pub").write_text(line)
        program = self.found("usr/sbin/tinysshd")
        listen = f"TCP-LISTEN:{self.port},bind=127.0.0.1,reuseaddr,fork,backlog=64"
        return ["socat", listen, f"EXEC:{program} -x sftp={SFTP_SERVER} {keys}"]


PROFTPD = """
ModulePath {modules}
LoadModule mod_sftp.c
ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
Port {port}
User root
Group root
UseReverseDNS off
AuthOrder mod_auth_file.c
AuthUserFile {folder}/passwd
RequireValidShell off
RootLogin on
UseFtpUsers off
AllowOverwrite on
WtmpLog off
PidFile {folder}/pid
ScoreboardFile {folder}/scoreboard
DelayEngine off
MaxInstances 60
SFTPEngine on
SFTPLog {folder}/sftp.log
SFTPHostKey {folder}/host_key
SFTPAuthorizedUserKeys file:{folder}/keys
SFTPAuthMethods publickey
{more}
"""


class Proftpd(Server):
    """ProFTPD's mod_sftp as it is without a word on files."""

    more: ClassVar[str] = ""
    packages = Packages(debian=("proftpd-core", "proftpd-mod-crypto"))
    needs = ("usr/sbin/proftpd", "usr/lib/proftpd/mod_sftp.so")
    traits = (
        "LSTAT follows links",
        "RENAME follows links",
        "no attributes of links",
        "handles end where the file did",
    )

    def command(self, served: Path) -> list[str | Path]:
        """Its own user database, with root in it."""
        modules = self.found("usr/lib/proftpd/mod_sftp.so").parent
        configuration = self.folder / "proftpd.conf"
        more = self.more.format(served=served)
        configuration.write_text(
            PROFTPD.format(port=self.port, folder=self.folder, modules=modules, more=more)
        )
        passwd = self.folder / "passwd"
        passwd.write_text(f"root:*:0:0::{self.folder}:/bin/sh\n")
        passwd.chmod(0o600)
        words = ["ssh-keygen", "-e", "-f", str(self.public_key)]
        (self.folder / "keys").write_bytes(subprocess.run(words, capture_output=True, check=True).stdout)
        return [self.found("usr/sbin/proftpd"), "-n", "-q", "-c", configuration]


class ProftpdStoreRestart(Proftpd):
    """Writes may begin elsewhere than at the beginning."""

    more = "AllowStoreRestart on"


class ProftpdHiddenStores(Proftpd):
    """What is written has its name only after CLOSE."""

    more = "AllowStoreRestart on\nHiddenStores on"
    traits = (*Proftpd.traits, "no name before CLOSE", "a longer name before CLOSE", "whole files")


class ProftpdDefaultRoot(Proftpd):
    """A jail: the served directory is /."""

    more = "AllowStoreRestart on\nDefaultRoot {served}"

    def path_of(self, served: Path) -> str:
        """Itself."""
        return "/"


ERLANG = """
application:ensure_all_started(ssh),
{{ok, _}} = ssh:daemon({{127,0,0,1}}, {port}, [
    {{system_dir, "{folder}/system"}}, {{user_dir, "{folder}/user"}},
    {{auth_methods, "publickey"}}, {{max_sessions, 60}}, {{parallel_login, true}},
    {{subsystems, [ssh_sftpd:subsystem_spec([{{cwd, "{served}"}}])]}}]).
"""


class Erlang(Server):
    """Erlang's ssh application."""

    packages = Packages(
        debian=("erlang-base", "erlang-ssh", "erlang-crypto", "erlang-public-key", "erlang-asn1")
    )
    needs = ("usr/lib/erlang/bin/start.boot", "usr/lib/erlang/lib")
    traits = (
        *WITHOUT_EXTENSIONS,
        "names are UTF-8",
        "other targets",
        "handles go by names",
        "no file is cut",
    )

    @classmethod
    def there(cls, store: Store) -> bool:
        """The ssh application has a folder of its version."""
        root = store.find("usr/lib/erlang/lib")
        return root is not None and any(root.glob("ssh-*"))

    def environment(self) -> dict[str, str]:
        """What /usr/bin/erl sets, wherever it is."""
        root = self.found("usr/lib/erlang")
        binaries = next(root.glob("erts-*/bin"))
        return {
            "HOME": str(self.folder),
            "ROOTDIR": str(root),
            "BINDIR": str(binaries),
            "EMU": "beam",
            "PROGNAME": "erl",
        }

    def command(self, served: Path) -> list[str | Path]:
        """Without a shell and without a name in the network."""
        for name, source in (
            ("system/ssh_host_ed25519_key", self.host_key),
            ("user/authorized_keys", self.authorized_keys),
        ):
            (self.folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(source, self.folder / name)
        program = Path(self.environment()["BINDIR"]) / "erlexec"
        return [
            program,
            "-noshell",
            "-noinput",
            "-eval",
            ERLANG.format(port=self.port, folder=self.folder, served=served),
        ]


GO = Path(__file__).with_name("programs") / "pkg_sftp.go"


class Go(Server):
    """Go's pkg/sftp, served as its example does."""

    packages = Packages(
        debian=(
            "golang-1.19-go",
            "golang-1.19-src",
            "golang-github-pkg-sftp-dev",
            "golang-github-kr-fs-dev",
            "golang-github-pkg-errors-dev",
            "golang-golang-x-crypto-dev",
            "golang-golang-x-sys-dev",
            "golang-golang-x-term-dev",
        )
    )
    needs = ("usr/lib/go-1.19/bin/go", "usr/share/gocode/src/github.com/pkg/sftp")
    traits = ("no attributes of links",)

    def command(self, served: Path) -> list[str | Path]:
        """Compiled once for each store."""
        program = self.store.folder / "pkg_sftp"
        if not program.exists():
            root = self.found("usr/lib/go-1.19")
            path = self.found("usr/share/gocode")
            self.store.folder.mkdir(parents=True, exist_ok=True)
            variables = {
                "GOROOT": str(root),
                "GOPATH": str(path),
                "GO111MODULE": "off",
                "GOCACHE": str(self.folder / "cache"),
                "GOFLAGS": "",
                "CGO_ENABLED": "0",
                "HOME": str(self.folder),
            }
            words = [root / "bin/go", "build", "-o", program, GO]
            done = subprocess.run(
                words, env=os.environ | variables, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, done.stderr
        return [program, str(self.port), self.host_key, self.public_key]


class Rclone(Server):
    """rclone serve sftp, which writes only whole new files, front to back."""

    mode: ClassVar[str] = "off"
    packages = Packages(debian=("rclone",))
    needs = ("usr/bin/rclone",)
    traits = (
        *WITHOUT_EXTENSIONS,
        "no links",
        "no modes",
        "no name before CLOSE",
        "whole files",
        "front to back",
        "handles go by names",
        "no control characters",
        "the time that was set last",
    )

    def command(self, served: Path) -> list[str | Path]:
        """The served directory is /."""
        words = [
            self.found("usr/bin/rclone"),
            "serve",
            "sftp",
            "--addr",
            f"127.0.0.1:{self.port}",
            "--config",
            "/dev/null",
        ]
        words += ["--authorized-keys", self.public_key, "--key", self.host_key, "--vfs-cache-mode", self.mode]
        return [
            *words,
            "--cache-dir",
            self.folder / "cache",
            "--dir-cache-time",
            "0s",
            "--vfs-write-back",
            "0s",
            served,
        ]

    def path_of(self, served: Path) -> str:
        """Itself."""
        return "/"


class RcloneWrites(Rclone):
    """With a cache of what is written."""

    mode = "writes"
