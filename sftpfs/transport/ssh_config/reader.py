"""ssh_config(5): the keywords that hold for one host, from options and files.

Pure, except that it reads the named files, ``Match exec`` and the environment. Knows no SSH library. As in
ssh, the first value obtained for a keyword is used: options come before ~/.ssh/config, and that before
/etc/ssh/ssh_config.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import socket
import subprocess
from collections.abc import Iterable

from sftpfs.errors import Failure, MountError
from sftpfs.host.account import home_directory, in_home, login_name
from sftpfs.host.covered_files import reach
from sftpfs.server_names import host_fault, shell_user_fault
from sftpfs.transport.ssh_config.keywords import ACCUMULATING, HANDLED, IGNORED, ONE_NAME, RIVALS, canonical
from sftpfs.transport.ssh_config.local_networks import on_network
from sftpfs.transport.ssh_config.proxy_jump import jump_hops
from sftpfs.transport.ssh_config.trusted_file import read_lines
from sftpfs.transport.ssh_config.words import match_patterns, split_keyword, split_words

USER_FILE = "~/.ssh/config"
SYSTEM_FILE = "/etc/ssh/ssh_config"
INCLUDE_DEPTH = 16
"""As OpenSSH's SSHCONF_MAX_DEPTH."""
EXEC_LIMIT = 10.0
"""Seconds a ``Match exec`` command may take."""


class HostConfig:
    """What the options and files say for one host.

    INVARIANT: a keyword's first values are never replaced; only those of ``ACCUMULATING`` grow.
    """

    def __init__(
        self,
        original_host: str,
        user: str | None = None,
        port: int | None = None,
        sftp_server: str = "",
    ) -> None:
        """``sftp_server``: the requested subsystem or program; none for a jump host, which has no session."""
        self.original_host = original_host
        self.unjudged: list[str] = []
        """Conditions that cannot be judged here, and where they are; their blocks are ignored."""
        self._sftp_server = sftp_server
        self.unused: list[str] = []
        """Keywords in files that mean nothing here, for the debug log."""
        self._values: dict[str, list[str]] = {}
        self._final = False
        self._wants_final = False
        if user is not None:
            self._values["user"] = [user]
        if port is not None:
            self._values["port"] = [str(port)]

    def add_options(self, options: Iterable[tuple[str, str]]) -> None:
        """Take ``-o`` options. Raises MountError(USAGE) for an unknown keyword."""
        for keyword, value in options:
            name = canonical(keyword)
            if name in IGNORED:
                self.unused.append(keyword)
            elif name not in HANDLED:
                raise MountError(Failure.USAGE, f"unknown ssh option '{keyword}'")
            else:
                self._set(name, value, f"option {keyword}")

    def add_files(self, config_file: str | None) -> None:
        """Reads the files: ``config_file`` alone, or ssh's two; "none" means none at all.

        Raises MountError(CONFIGURATION) if a named file cannot be read or parsed.
        """
        if config_file is not None and config_file.lower() == "none":
            return
        self._read_files(config_file)
        if self._wants_final:
            self._final = True
            self._read_files(config_file)

    def _read_files(self, config_file: str | None) -> None:
        if config_file is not None:
            self._read(in_home(config_file), 0, required=True, ours_alone=False)
            return
        self._read(in_home(USER_FILE), 0, required=False, ours_alone=True)
        self._read(SYSTEM_FILE, 0, required=False, ours_alone=False)

    # --- reading

    def _read(self, path: str, depth: int, required: bool, ours_alone: bool) -> None:
        """``ours_alone``: whether the file must be ours alone, as ssh requires of the user's file and of
        whatever any file includes."""
        if depth > INCLUDE_DEPTH:
            raise MountError(Failure.CONFIGURATION, f"{path}: too many nested Include lines")
        try:
            lines = read_lines(path, ours_alone)
        except OSError as error:
            if not required and isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError):
                return
            message = f"cannot read ssh configuration file '{path}': {error.strerror}"
            raise MountError(Failure.CONFIGURATION, message) from None
        active = True
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            active = self._take_line(text, f"{path} line {number}", active, path, depth)

    def _take_line(self, text: str, where: str, active: bool, path: str, depth: int) -> bool:
        keyword, value = split_keyword(text)
        name = canonical(keyword)
        if name == "host":
            return match_patterns(split_words(value, where), self.original_host)
        if name == "match":
            return self._match(split_words(value, where), where)
        if not active:
            return False
        if name == "include":
            for pattern in split_words(value, where):
                self._include(pattern, path, depth)
        elif name in HANDLED:
            self._set(name, value, where)
        else:
            self.unused.append(keyword)
        return True

    def _include(self, pattern: str, path: str, depth: int) -> None:
        pattern = in_home(pattern)
        if not os.path.isabs(pattern):
            base = "/etc/ssh" if path.startswith("/etc/ssh/") else os.path.join(home_directory(), ".ssh")
            pattern = os.path.join(base, pattern)
        for found in sorted(glob.glob(reach(pattern))):
            self._read(found, depth + 1, required=False, ours_alone=True)

    def _set(self, name: str, value: str, where: str) -> None:
        # these take the rest of the line as it stands: the shell or the login name may need the quotes
        words = [value] if name == "proxycommand" else split_words(value, where)
        if not words or words == [""]:
            raise MountError(Failure.CONFIGURATION, f"{where}: missing value")
        if len(words) > 1 and name in ONE_NAME:
            message = f'{where}: extra arguments after {words[0]}; a name with a blank is written "{value}"'
            raise MountError(Failure.CONFIGURATION, message)
        if name == "proxyjump":
            jump_hops(words[0])  # as it is read, so that Match exec of a file is not run before
        if name in ACCUMULATING:
            self._values.setdefault(name, []).extend(words)
        elif not self._outdone(name):
            self._values.setdefault(name, words)

    def _outdone(self, name: str) -> bool:
        """True if its rival was obtained first (``RIVALS``)."""
        rival = self.text(RIVALS.get(name, ""))
        return rival is not None and not (name == "proxycommand" and rival.lower() == "none")

    # --- Match

    def _match(self, words: list[str], where: str) -> bool:
        result = True
        position = 0
        while position < len(words):
            criterion = words[position].lower()
            position += 1
            argument = ""
            negated = criterion.startswith("!")
            criterion = criterion.removeprefix("!")
            if "=" in criterion:
                criterion, _, argument = words[position - 1].removeprefix("!").partition("=")
                criterion = criterion.lower()
            elif criterion not in ("all", "canonical", "final"):
                if position == len(words):
                    raise MountError(Failure.CONFIGURATION, f"{where}: Match {criterion} needs a pattern")
                argument = words[position]
                position += 1
            if result and self._criterion(criterion, argument, where) == negated:
                result = False
        return result

    def _criterion(self, criterion: str, argument: str, where: str) -> bool:
        if criterion == "all":
            return True
        if criterion in ("final", "canonical"):
            self._wants_final = self._wants_final or criterion == "final"
            return self._final
        if criterion == "exec":
            return run_condition(self.command(argument, where))
        subjects = {
            "host": self.host,
            "originalhost": self.original_host,
            "user": self.user,
            "localuser": login_name(),
            "tagged": self.text("tag") or "",
            "sessiontype": self._session_type,
            "command": self._sftp_server,
        }
        if criterion == "localnetwork":
            return on_network(argument.split(","), where)
        if criterion not in subjects:
            self.unjudged.append(f"{where}: Match {criterion}")
            return False
        return match_patterns(argument.split(","), subjects[criterion])

    @property
    def _session_type(self) -> str:
        if not self._sftp_server:
            return "none"
        return "exec" if "/" in self._sftp_server else "subsystem"

    # --- asking

    def has(self, keyword: str) -> bool:
        """True if some source gave ``keyword``."""
        return keyword in self._values

    def text(self, keyword: str) -> str | None:
        """The first word given for ``keyword``, or None."""
        values = self._values.get(keyword)
        return values[0] if values else None

    def words(self, keyword: str) -> list[str]:
        """Every word given for ``keyword``."""
        return list(self._values.get(keyword, ()))

    def flag(self, keyword: str, default: bool) -> bool:
        """``keyword`` as yes or no. Raises MountError(CONFIGURATION)."""
        value = self.text(keyword)
        if value is None:
            return default
        if value.lower() in ("yes", "true"):
            return True
        if value.lower() in ("no", "false"):
            return False
        raise MountError(Failure.CONFIGURATION, f"ssh option {keyword}: '{value}' is neither yes nor no")

    def number(self, keyword: str, default: int) -> int:
        """``keyword`` as a whole number, not negative. Raises MountError(CONFIGURATION)."""
        value = self.text(keyword)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit() or len(value) > 9:
            raise MountError(Failure.CONFIGURATION, f"ssh option {keyword}: '{value}' is not a number")
        return int(value)

    def seconds(self, keyword: str, default: float) -> float:
        """``keyword`` as a time (sshd_config(5) TIME FORMATS), in seconds; "none" is 0."""
        value = self.text(keyword)
        if value is None:
            return default
        if value.lower() == "none":
            return 0.0
        parts = re.findall(r"(\d{1,9})([smhdw]?)", value.lower())
        if not parts or "".join(a + b for a, b in parts) != value.lower():
            raise MountError(Failure.CONFIGURATION, f"ssh option {keyword}: '{value}' is not a time")
        unit = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
        return float(sum(int(a) * unit[b] for a, b in parts))

    @property
    def host(self) -> str:
        """The host to connect to (``HostName``)."""
        name = self.text("hostname")
        if name is None:
            return self.original_host
        return name.replace("%h", self.original_host).replace("%%", "%")

    @property
    def user(self) -> str:
        """The login name on the server."""
        return self.text("user") or login_name()

    @property
    def port(self) -> int:
        """The port to connect to. Raises MountError(CONFIGURATION)."""
        port = self.number("port", 22)
        if not 1 <= port <= 65535:
            raise MountError(Failure.CONFIGURATION, f"port {port} is not between 1 and 65535")
        return port

    # --- tokens

    def command(self, text: str, where: str) -> str:
        """``text`` for a shell, its % tokens replaced. Raises MountError(CONFIGURATION) if a name would be
        more to the shell than a word."""
        used = set(re.findall(r"%(.?)", text))
        names = {"h": self.host, "n": self.original_host, "k": self.text("hostkeyalias") or ""}
        faults = [host_fault(name) for token, name in names.items() if token in used]
        if "r" in used:
            faults.append(shell_user_fault(self.user))
        if "j" in used:
            faults += [shell_user_fault(hop.user or "") for hop in jump_hops(self.text("proxyjump") or "")]
        for fault in filter(None, faults):
            raise MountError(Failure.CONFIGURATION, f"{where}: {fault}")
        return self.expand(text, where)

    def expand(self, text: str, where: str) -> str:
        """``text`` with its % tokens replaced (ssh_config(5) TOKENS). Raises MountError(CONFIGURATION)."""
        if "%" not in text:
            return text
        host, port, user = self.host, str(self.port), self.user
        local = socket.gethostname()
        jump = self.text("proxyjump") or ""
        identity = f"{local}{host}{port}{user}{jump}".encode(errors="surrogateescape")
        tokens = {
            "%": "%",
            "h": host,
            "n": self.original_host,
            "p": port,
            "r": user,
            "u": login_name(),
            "d": home_directory(),
            "i": str(os.getuid()),
            "l": local,
            "L": local.partition(".")[0],
            "j": jump,
            "k": self.text("hostkeyalias") or self.original_host,
            "C": hashlib.sha1(identity, usedforsecurity=False).hexdigest(),
        }

        def replace(match: re.Match[str]) -> str:
            try:
                return tokens[match[1]]
            except KeyError:
                raise MountError(Failure.CONFIGURATION, f"{where}: unknown token '{match[0]}'") from None

        return re.sub(r"%(.?)", replace, text)

    def path(self, text: str, where: str) -> str:
        """A file name with ``~``, % tokens and ${VARIABLES} replaced. Raises MountError(CONFIGURATION)."""

        def variable(match: re.Match[str]) -> str:
            value = os.environ.get(match[1])
            if value is None:
                message = f"{where}: environment variable {match[1]} is not set"
                raise MountError(Failure.CONFIGURATION, message)
            return value

        return in_home(re.sub(r"\$\{(\w+)\}", variable, self.expand(text, where)))


def run_condition(command: str) -> bool:
    """True if the shell command of a ``Match exec`` succeeds in time."""
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(
            command, shell=True, stdin=quiet, stdout=quiet, stderr=quiet, timeout=EXEC_LIMIT
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
