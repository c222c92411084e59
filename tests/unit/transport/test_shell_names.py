"""Names of hosts and users with a shell's words in them: ProxyCommand and Match exec never run those.

Whoever reads a command line refuses them before (``test_cli_endpoint.py``); here they come past that, or from
ssh_config itself.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sftpfs.errors import Failure, MountError
from sftpfs.transport.ssh_config.reader import HostConfig
from sftpfs.transport.worker.hop_settings import Defaults, settings_for

DEFAULTS = Defaults(connect_timeout=20.0, keepalive_interval=15.0, keepalive_count=3, compression=False)
Options = tuple[tuple[str, str], ...]

WORDS = ("`>MARK`", "$(>MARK)", ";>MARK;", "&>MARK", "|tee MARK", "'`>MARK`'")
TOKENS = {"%h": "host", "%n": "host", "%r": "user"}


class Marked:
    """The file every command in a name would make: MARK in all words."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "mark"
        self._config = directory / "config"

    def named(self, words: str) -> str:
        """``words`` that mean this file."""
        return words.replace("MARK", str(self.path))

    def connect(self, text: str, host: str, user: str | None, options: Options) -> None:
        """What a connection with ``text`` as ssh_config does before it is made. Raises MountError."""
        self._config.write_text(self.named(text))
        config = HostConfig(self.named(host), self.named(user) if user else None)
        config.add_options((name, self.named(value)) for name, value in options)
        config.add_files(str(self._config))
        command = settings_for(config, DEFAULTS).proxy_command
        subprocess.run(f"exec {command}", shell=True, stdin=subprocess.DEVNULL, timeout=20, check=False)


@pytest.fixture
def marked(tmp_path: Path) -> Marked:
    return Marked(tmp_path)


def refuses(
    marked: Marked, text: str, host: str = "host", user: str | None = None, options: Options = ()
) -> None:
    """The connection is not made, for the names in it, and nothing was run."""
    with pytest.raises(MountError) as caught:
        marked.connect(text, host, user, options)
    assert not marked.path.exists()
    assert caught.value.failure is Failure.CONFIGURATION
    assert "contains invalid characters" in caught.value.message


PROXY = "ProxyCommand 3>&1; echo {}\n"
"""It follows ``exec`` there: with nothing to execute but a redirection the shell stays for what comes."""
MATCH = 'Match exec "echo {}"\n  Port 1\nMatch all\n  ProxyCommand false\n'


@pytest.mark.parametrize("where", [PROXY, MATCH])
def test_a_harmless_name_is_given_to_the_shell(marked: Marked, where: str) -> None:
    """What the others rest upon: the command is run, and would have run more."""
    text = where.format("%h %n %r; touch MARK")
    marked.connect(text, "host", "joe", ())
    assert marked.path.exists()


@pytest.mark.parametrize("where", [PROXY, MATCH])
@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("token", TOKENS)
def test_names_of_the_command_line(marked: Marked, where: str, words: str, token: str) -> None:
    if TOKENS[token] == "user":
        refuses(marked, where.format(token), user=words)
    else:
        refuses(marked, where.format(token), words)


@pytest.mark.parametrize("where", [PROXY, MATCH])
@pytest.mark.parametrize(
    ("line", "token"),
    [
        ('HostName "{}"', "%h"),
        ('HostName "{}.%h"', "%h"),
        ('User "{}"', "%r"),
        ('HostKeyAlias "{}"', "%k"),
    ],
)
def test_names_of_the_file(marked: Marked, where: str, line: str, token: str) -> None:
    """ssh runs these: whoever writes the file may write a command. A shell never needs one in a name."""
    for words in WORDS[:3]:
        refuses(marked, line.format(words) + "\n" + where.format(token))


@pytest.mark.parametrize("jump", ["{}", "j,{}", "{},j", "{}@j", "j,{}@k", "{}@j,k"])
def test_jump_hosts_of_the_file_and_of_the_command_line(marked: Marked, jump: str) -> None:
    """Of a file ssh runs the user's."""
    text = 'Match exec "echo %j; touch MARK"\n  Port 1\n'
    for words in WORDS[:3]:
        line = f'ProxyJump "{jump.format(words)}"\n'
        refuses(marked, line + text)
        refuses(marked, text, options=(("ProxyJump", f'"{jump.format(words)}"'),))
