"""A real sshd for tests: its own keys and configuration, on a port of 127.0.0.1.

It runs in a mount namespace of its own, so that sftp-server cannot wander into the
mount under test and deadlock on it, and in a process namespace of its own, so that
killing one process ends every session with it. Needs root.

    with Sshd(tmp_path) as server:
        options = server.ssh_options()     # (("IdentityFile", ...), ...)
        ...
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.harness.namespaces import apart

SFTP_SERVER = "/usr/lib/openssh/sftp-server"

START_LIMIT = 20.0


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def generate_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A new private key at ``path`` and its public half at ``path.pub``."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=30)
    return path


def descendants(pid: int) -> list[int]:
    """Process ids below ``pid``, parents before their children."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        parents.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(entry))
    found: list[int] = []
    pending = [pid]
    while pending:
        children = parents.get(pending.pop(), [])
        found += children
        pending += children
    return found


def openssh_version() -> tuple[int, int]:
    """The installed OpenSSH's version."""
    text = subprocess.run(["ssh", "-V"], capture_output=True, text=True, timeout=10).stderr
    match = re.search(r"OpenSSH_(\d+)\.(\d+)", text)
    assert match, text
    return int(match[1]), int(match[2])


class Sshd:
    """One sshd.

    ``directory`` is where its files go. ``config_extra`` lines come first in
    sshd_config, so they win (sshd takes the first value of a keyword). ``subsystem``
    None means the server has no sftp. ``host_key_kinds`` as ssh-keygen's -t.

    ``client_key`` logs in as ``user``; ``known_hosts`` holds the server's keys.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        config_extra: str = "",
        subsystem: str | None = SFTP_SERVER,
        port: int | None = None,
        host_key_kinds: tuple[str, ...] = ("ed25519",),
    ) -> None:
        self.directory = Path(directory)
        self.host = "127.0.0.1"
        self.user = "root"
        self.port = port or free_port()
        self.config_extra = config_extra
        self.subsystem = subsystem
        self.host_keys = [self.directory / f"host_{kind}" for kind in host_key_kinds]
        self.client_key = self.directory / "client_key"
        self.authorized_keys = self.directory / "authorized_keys"
        self.known_hosts = self.directory / "known_hosts"
        self.log_path = self.directory / "sshd.log"
        self._config_path = self.directory / "sshd_config"
        self._process: subprocess.Popen[bytes] | None = None
        self._make_keys()

    def _make_keys(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in [*self.host_keys, self.client_key]:
            if not path.exists():
                generate_key(path, path.name.removeprefix("host_") if path in self.host_keys else "ed25519")
        self.authorized_keys.write_text(self.client_key.with_suffix(".pub").read_text())
        self.write_known_hosts()

    def write_known_hosts(self, path: Path | None = None) -> Path:
        """Write the server's true keys to ``path`` (default ``known_hosts``)."""
        path = path or self.known_hosts
        lines = [f"[{self.host}]:{self.port} {self.public_host_key(i)}" for i in range(len(self.host_keys))]
        path.write_text("\n".join(lines) + "\n")
        return path

    def public_host_key(self, index: int = 0) -> str:
        """``type base64`` of a host key."""
        return " ".join(Path(f"{self.host_keys[index]}.pub").read_text().split()[:2])

    def authorize(self, public_key: Path) -> None:
        """Let the key of this ``.pub`` file log in as well."""
        with open(self.authorized_keys, "a") as file:
            file.write(public_key.read_text())

    def ssh_options(self) -> tuple[tuple[str, str], ...]:
        """ssh_config keywords with which a client gets in without being asked anything."""
        return (
            ("User", self.user),
            ("IdentityFile", str(self.client_key)),
            ("IdentitiesOnly", "yes"),
            ("IdentityAgent", "none"),
            ("UserKnownHostsFile", str(self.known_hosts)),
            ("GlobalKnownHostsFile", "/dev/null"),
            ("StrictHostKeyChecking", "yes"),
        )

    def _config(self) -> str:
        lines = [
            self.config_extra,
            f"ListenAddress {self.host}:{self.port}",
            *(f"HostKey {path}" for path in self.host_keys),
            f"AuthorizedKeysFile {self.authorized_keys}",
            f"PidFile {self.directory}/sshd.pid",
            "PermitRootLogin yes",
            "StrictModes no",
            "UsePAM no",
            "UseDNS no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "MaxStartups 200",
            "MaxSessions 64",
            "PrintMotd no",
            "LogLevel VERBOSE",
            # The login shell starts sftp-server; bash then reads ~/.bashrc, which is not ours to run.
            f"SetEnv HOME={self.directory}",
        ]
        if openssh_version() >= (9, 8):
            lines.append("PerSourcePenalties no")
        if self.subsystem:
            lines.append(f"Subsystem sftp {self.subsystem}")
        return "\n".join(lines) + "\n"

    def start(self) -> Sshd:
        """Start and wait until it accepts connections."""
        assert self._process is None
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._config_path.write_text(self._config())
        command = apart(options=("--pid", "--fork", "--kill-child", "--mount-proc"))
        command += ["/usr/sbin/sshd", "-D", "-e", "-f", str(self._config_path)]
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def _wait_until_ready(self) -> None:
        process = self._process
        assert process is not None
        deadline = time.monotonic() + START_LIMIT
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"sshd did not start: {self.log()}")
            try:
                with socket.create_connection((self.host, self.port), timeout=5) as probe:
                    if probe.recv(4) == b"SSH-":
                        return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"sshd does not answer: {self.log()}")
            time.sleep(0.02)

    @property
    def running(self) -> bool:
        """True between ``start`` and ``stop``."""
        return self._process is not None

    def log(self) -> str:
        """What sshd has logged so far."""
        return self.log_path.read_text(errors="replace")

    def _listener(self) -> int:
        assert self._process is not None
        children = descendants(self._process.pid)
        assert children, "sshd is gone"
        return children[0]

    def pids(self) -> list[int]:
        """Every process of ours."""
        return [self._process.pid, *descendants(self._process.pid)] if self._process is not None else []

    def session_pids(self) -> list[int]:
        """Every process serving a connection (sshd's and sftp-server)."""
        return descendants(self._listener())

    @staticmethod
    def _signal(pids: list[int], number: int) -> None:
        """Send ``number`` to those that have not ended since they were looked for."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def drop_connections(self) -> None:
        """Kill every session; the listener stays."""
        self._signal(self.session_pids(), signal.SIGKILL)

    def freeze(self) -> None:
        """Stop every process: connections stay open, nothing answers."""
        self._signal([self._listener(), *self.session_pids()], signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo ``freeze``."""
        self._signal([self._listener(), *self.session_pids()], signal.SIGCONT)

    def stop(self) -> None:
        """Kill the server and all its sessions; idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        pids = descendants(process.pid)
        process.kill()  # --kill-child takes the namespace's init with it, and that everything else
        process.wait(timeout=10)
        deadline = time.monotonic() + 10
        while any(_alive(pid) for pid in pids):
            assert time.monotonic() < deadline, "sshd's processes did not end"
            time.sleep(0.01)

    def __enter__(self) -> Sshd:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")
