"""SFTP servers that libraries make: a small program of ``programs`` each."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tests.servers.openssh import WITHOUT_EXTENSIONS
from tests.servers.packages import Packages, Store
from tests.servers.server import Server

PROGRAMS = Path(__file__).with_name("programs")


class Python(Server):
    """A program of ``programs`` for a package of PyPI; its words: port, host key, client's key, directory."""

    program: ClassVar[str]
    module: ClassVar[str]

    @classmethod
    def there(cls, store: Store) -> bool:
        """Whether the interpreter has the package."""
        environment = store.python.parent.parent
        return any(environment.glob(f"lib/python*/site-packages/{cls.module}"))

    def command(self, served: Path) -> list[str | Path]:
        """With the interpreter of the store."""
        return [
            self.store.python,
            PROGRAMS / self.program,
            str(self.port),
            self.host_key,
            self.public_key,
            served,
        ]


class Asyncssh(Python):
    """asyncssh's own server, which speaks more versions of SFTP than three."""

    packages = Packages(python=("asyncssh==2.24.1",))
    program = "asyncssh_server.py"
    module = "asyncssh"


class Paramiko(Python):
    """paramiko's SFTPServerInterface over a directory, as its documentation does it."""

    packages = Packages(python=("paramiko==5.1.0",))
    program = "paramiko_server.py"
    module = "paramiko"
    traits = (*WITHOUT_EXTENSIONS, "names are UTF-8", "no file is cut")


class Conch(Python):
    """Twisted's server for users of Unix."""

    packages = Packages(
        python=(
            "twisted==26.10.0",
            "bcrypt==5.0.0",
            "pyasn1==0.6.5",
            "appdirs==1.4.4",
            "cryptography==50.0.2",
        )
    )
    program = "conch_server.py"
    module = "twisted"
    traits = (*WITHOUT_EXTENSIONS, "names are UTF-8", "names are ASCII", "other targets", "no file is cut")


class NodeSsh2(Server):
    """The ssh2 package of npm, with the file system of node behind it."""

    packages = Packages(node=("ssh2@1.17.0",))
    traits = (*WITHOUT_EXTENSIONS, "names are UTF-8")

    @classmethod
    def there(cls, store: Store) -> bool:
        """Whether npm has brought the package."""
        return (store.modules / "ssh2").exists()

    def environment(self) -> dict[str, str]:
        """Where its packages are."""
        return {**super().environment(), "NODE_PATH": str(self.store.modules)}

    def command(self, served: Path) -> list[str | Path]:
        """With the node of the machine."""
        return ["node", PROGRAMS / "ssh2_server.js", str(self.port), self.host_key, self.public_key, served]
