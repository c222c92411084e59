"""Who words a question: what a server says is never taken for a question of ours; ssh beside."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from pathlib import Path

import pytest
import trio

from sftpfs.config import Endpoint, TransportConfig
from sftpfs.errors import Failure, MountError
from sftpfs.transport.api import PromptKind
from sftpfs.transport.keys import known_hosts
from sftpfs.transport.ssh_config.reader import HostConfig
from sftpfs.transport.worker.authentication import AGAIN, Authenticator
from sftpfs.transport.worker.hop_settings import Defaults, settings_for
from tests.sshd import Sshd, generate_key
from tests.transport_helpers import (
    Script,
    configure,
    connector,
    endpoint_of,
    failure_of,
    peer,
    run,
)

LABEL = "(ann@127.0.0.1) "

GENUINE = (
    "Enter passphrase for key '/home/ann/.ssh/id_ed25519': ",
    "ann@127.0.0.1's password: ",
    "admin@bank.example's password: ",
    "The authenticity of host 'bank.example' can't be established.",
    "Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
    "Please type 'yes', 'no' or the fingerprint: ",
    f"{AGAIN}\n",
)
"""How ours are worded; the tests below hold that they are."""

WORDINGS = [
    *({"prompts": [text]} for text in GENUINE),
    *({"prompts": ["PIN: "], "instructions": f"sftpfs: once more:\n{text}"} for text in GENUINE[:2]),
    {"prompts": ["Password: "], "name": GENUINE[0], "instructions": f"wrong\r\n\x1b[2K\r{GENUINE[0]}"},
    {"prompts": [f"PIN\n{GENUINE[0]}"]},
    {"prompts": [f"PIN\r{GENUINE[0]}", f"\u2028\n\n\x0b{GENUINE[1]}"]},
    {"prompts": ["PIN: "], "banner": f"welcome\n{GENUINE[0]}\n"},
]


def typed(config: TransportConfig, tmp_path: Path) -> list[str]:
    """What ssh asks with the same options, by its askpass program; the answers are wrong."""
    asked = tmp_path / "asked"
    asked.touch()
    program = tmp_path / "askpass"
    program.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$1\" >>{asked}\necho wrong\n")
    program.chmod(0o700)
    options = [f"-o{name}={value}" for name, value in config.ssh_options]
    command = ["ssh", "-F", "none", "-l", "ann", *options, "127.0.0.1", "true"]
    environment = {**os.environ, "SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force"}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=30, check=False
    )
    assert done.returncode == 255, done.stderr
    return asked.read_text().split("\0")[:-1]


def questions(config: TransportConfig, *answers: str) -> list[str]:
    """What ours asks; the answers are wrong."""
    script = Script(*answers)
    error = failure_of(config, Endpoint("127.0.0.1", user="ann"), script)
    assert error.failure is Failure.AUTHENTICATION
    return [text for _, text, _ in script.asked]


@pytest.mark.parametrize("wording", WORDINGS)
def test_every_line_of_a_server_says_whose_it_is(
    tmp_path: Path, wording: dict[str, str | list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    told = {"name": "", "instructions": "", "banner": ""} | wording
    caplog.set_level(logging.INFO, "sftpfs")
    with peer(tmp_path, "worded", json.dumps(told)) as config:
        asked = questions(config, *(["wrong"] * 3 * len(told["prompts"])))
        beside = typed(config, tmp_path)
    assert len(asked) == 3 * len(told["prompts"]) == len(beside)
    for text in asked:
        assert all(line.startswith(LABEL) for line in text.split("\n")), text
        assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert all(text.startswith(LABEL) for text in beside), "ssh does otherwise"
    if told["prompts"] == [text for text in told["prompts"] if text.isprintable()]:
        assert [text.rpartition("\n")[2] for text in asked] == beside
    for record in caplog.records:
        message = record.getMessage()
        assert not message.startswith(GENUINE), message
        assert LABEL in message or not any(text.strip() in message for text in GENUINE), message


def test_our_own_questions_begin_as_no_line_of_a_server_can(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "locked", passphrase="secret")
    asked = []
    with Sshd(tmp_path / "sshd") as server:
        server.authorize(Path(f"{key}.pub"))
        script = Script("what?", "yes", "wrong", "wrong", "wrong")
        config = configure(
            server,
            ("IdentityFile", str(key)),
            ("UserKnownHostsFile", "none"),
            ("StrictHostKeyChecking", "ask"),
        )
        failure_of(config, endpoint_of(server), script)
        asked += script.asked
        assert script.unused == 0
    with peer(tmp_path, "password") as config:
        script = Script("a", "b", "c")
        failure_of(config, Endpoint("127.0.0.1", user="ann"), script)
        asked += script.asked
        beside = typed(config, tmp_path)
    assert {kind for kind, _, _ in asked} == {PromptKind.CONFIRM, PromptKind.PASSPHRASE, PromptKind.PASSWORD}
    passwords = [text for kind, text, _ in asked if kind is PromptKind.PASSWORD]
    question = "ann@127.0.0.1's password: "
    assert passwords == [question, *[f"{AGAIN}\n{question}"] * 2]
    assert [text.removeprefix(f"{AGAIN}\n") for text in passwords] == beside
    for _, text, _ in asked:
        assert not text.startswith("("), text
        assert text.startswith(tuple(known.partition("'")[0] for known in GENUINE)), text
    assert known_hosts.question("h", b"").startswith(GENUINE[3].partition("'")[0])


def test_a_jump_host_is_told_from_the_server_behind_it() -> None:
    def said(host: str, user: str) -> str:
        config = HostConfig(host, user)
        settings = settings_for(config, Defaults(20.0, 15.0, 3, False))
        return Authenticator(settings, (), no_answer, lambda line: None).attributed("PIN:\nonce more:")

    async def no_answer(kind: str, text: str, echo: bool, key: str, attempt: int) -> None:
        return None

    assert said("gate", "eve") == "(eve@gate) PIN:\n(eve@gate) once more:"
    assert said("vault", "ann") == "(ann@vault) PIN:\n(ann@vault) once more:"


def test_a_server_that_ends_the_login_while_somebody_thinks_is_told_so(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "locked", passphrase="secret")
    with Sshd(tmp_path / "sshd", config_extra="LoginGraceTime 2") as server:
        server.authorize(Path(f"{key}.pub"))

        class Thinking(Script):
            async def ask(self, kind: PromptKind, text: str, echo: bool) -> str | None:
                return await super().ask(kind, text, echo) or await never()

        async def never() -> str | None:
            await trio.sleep_forever()

        error = failure_of(configure(server, ("IdentityFile", str(key))), endpoint_of(server), Thinking(None))
    assert error.failure is Failure.TRANSPORT
    assert "while it waited for an answer" in error.message and "LoginGraceTime" in error.message
    assert "Errno" not in error.message


def test_a_password_of_standard_input_that_is_refused_is_said_to_be(tmp_path: Path) -> None:
    for mode in ("password", "single"):
        (tmp_path / mode).mkdir()
        with peer(tmp_path / mode, mode) as config:
            for line, told in (
                (b"wrong\n", "the password from standard input was refused"),
                (b"", "no password"),
            ):
                error = with_stdin(line, config)
                assert error.failure is Failure.AUTHENTICATION and told in error.message, error.message


def with_stdin(line: bytes, config: TransportConfig) -> MountError:
    given = TransportConfig(ssh_config_file="none", ssh_options=config.ssh_options, password_stdin=True)
    saved = os.dup(0)
    read_end, write_end = os.pipe()
    os.write(write_end, line)
    os.close(write_end)
    os.dup2(read_end, 0)
    try:
        found = []

        async def check() -> None:
            async with connector(given, Endpoint("127.0.0.1")) as made:
                with pytest.raises(MountError) as caught:
                    await made.connect(interactive=True)
                found.append(caught.value)

        run(check)
        return found[0]
    finally:
        os.dup2(saved, 0)
        for fd in (saved, read_end):
            os.close(fd)
