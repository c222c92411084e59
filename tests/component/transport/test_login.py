"""Logging in with asyncssh workers: keys, passphrases, agent, passwords, questions."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftpfs.config import Endpoint, TransportConfig
from sftpfs.errors import Failure, MountError
from sftpfs.transport.api import PromptKind
from tests.sshd import Sshd, generate_key
from tests.transport_helpers import (
    Script,
    configure,
    connector,
    endpoint_of,
    failure_of,
    handshake,
    handshake_of,
    peer,
    run,
    says_once,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def test_a_key_file_lets_us_in_and_channels_share_the_connection(server: Sshd) -> None:
    async def check() -> None:
        async with connector(configure(server), endpoint_of(server)) as made:
            transport = await made.connect(interactive=False)
            first = await transport.open_channel()
            second = await transport.open_channel()
            await handshake(second)
            await handshake(first)
            assert not transport.closed.is_set()
            first.close()
            second.close()
            transport.close()
            assert transport.closed.is_set()

    run(check)


def test_an_encrypted_key_asks_for_its_passphrase_naming_the_file_and_is_not_asked_again(
    server: Sshd, tmp_path: Path
) -> None:
    key = generate_key(tmp_path / "locked", passphrase="open sesame")
    server.authorize(Path(f"{key}.pub"))
    script = Script("wrong", "open sesame")

    async def check() -> None:
        config = configure(server, ("IdentityFile", str(key)))
        async with connector(config, endpoint_of(server), script) as made:
            await made.connect(interactive=True)
            assert [kind for kind, _, _ in script.asked] == [PromptKind.PASSPHRASE] * 2
            assert all(str(key) in text and not echo for _, text, echo in script.asked)
            await made.connect(interactive=False)
            assert len(script.asked) == 2

    run(check)


def test_a_key_file_without_passphrase_is_tried_before_one_with(server: Sshd, tmp_path: Path) -> None:
    key = generate_key(tmp_path / "locked", passphrase="never asked")
    server.authorize(Path(f"{key}.pub"))

    async def check() -> None:
        extra = (("IdentityFile", str(key)), ("IdentityFile", str(server.client_key)))
        script = Script()
        async with connector(configure(server, *extra), endpoint_of(server), script) as made:
            await made.connect(interactive=True)
        assert not script.asked

    run(check)


def test_a_passphrase_is_not_asked_for_a_key_the_server_does_not_want(server: Sshd, tmp_path: Path) -> None:
    key = generate_key(tmp_path / "stranger", passphrase="whatever")

    async def check() -> None:
        script = Script()
        config = configure(server, ("IdentityFile", str(key)))
        async with connector(config, endpoint_of(server), script) as made:
            with pytest.raises(MountError) as caught:
                await made.connect(interactive=True)
        assert caught.value.failure is Failure.AUTHENTICATION
        assert not script.asked

    run(check)


def test_a_certificate_lets_us_in(tmp_path: Path) -> None:
    authority = generate_key(tmp_path / "ca")
    user = generate_key(tmp_path / "user")
    command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "test", "-n", "root", f"{user}.pub"]
    subprocess.run(command, check=True, timeout=20)
    extra = f"TrustedUserCAKeys {authority}.pub"
    with Sshd(tmp_path / "sshd", config_extra=extra) as server:

        async def check() -> None:
            config = configure(server, ("IdentityFile", str(user)))
            async with connector(config, endpoint_of(server)) as made:
                await made.connect(interactive=False)

        run(check)


def test_the_agent_lets_us_in(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent"
    listing = subprocess.run(
        ["ssh-agent", "-a", str(path), "-s"], capture_output=True, text=True, check=True, timeout=20
    ).stdout
    pid = int(listing.partition("SSH_AGENT_PID=")[2].partition(";")[0])
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        subprocess.run(["ssh-add", "-q", str(server.client_key)], check=True, timeout=20)

        async def check() -> None:
            by_environment = configure(
                server, ("IdentityFile", "none"), without=("IdentityAgent", "IdentitiesOnly")
            )
            async with connector(by_environment, endpoint_of(server)) as made:
                await made.connect(interactive=False)
            named = configure(
                server,
                ("IdentityFile", f"{server.client_key}.pub"),
                ("IdentityAgent", str(path)),
                ("IdentitiesOnly", "yes"),
            )
            async with connector(named, endpoint_of(server)) as made:
                await made.connect(interactive=False)
            other = configure(server, ("IdentityFile", str(tmp_path / "none")), ("IdentityAgent", str(path)))
            async with connector(other, endpoint_of(server)) as made:
                with pytest.raises(MountError) as caught:
                    await made.connect(interactive=False)
            assert caught.value.failure is Failure.AUTHENTICATION

        run(check)
    finally:
        os.kill(pid, signal.SIGTERM)


def test_nobody_to_ask_names_the_methods_tried_and_a_cure(server: Sshd, tmp_path: Path) -> None:
    key = generate_key(tmp_path / "stranger")

    async def check() -> None:
        config = configure(server, ("IdentityFile", str(key)))
        async with connector(config, endpoint_of(server)) as made:
            with pytest.raises(MountError) as caught:
                await made.connect(interactive=False)
        error = caught.value
        assert error.failure is Failure.AUTHENTICATION
        assert "publickey" in error.message and "ssh-agent" in error.message
        assert f"root@127.0.0.1 port {server.port}" in error.message
        assert says_once(error.message)

    run(check)


def test_too_many_keys_says_so(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", config_extra="MaxAuthTries 2") as server:
        keys = [("IdentityFile", str(generate_key(tmp_path / f"key{i}"))) for i in range(4)]

        async def check() -> None:
            async with connector(configure(server, *keys), endpoint_of(server)) as made:
                with pytest.raises(MountError) as caught:
                    await made.connect(interactive=False)
            assert caught.value.failure is Failure.AUTHENTICATION
            assert "IdentitiesOnly" in caught.value.message

        run(check)


def test_a_password_is_asked_for_again_when_wrong_and_remembered_when_right(tmp_path: Path) -> None:
    with peer(tmp_path, "password") as config:
        script = Script("wrong", "secret")

        async def check() -> None:
            async with connector(config, Endpoint("127.0.0.1", user="ann"), script) as made:
                transport = await made.connect(interactive=True)
                await handshake_of(transport)
                question = "ann@127.0.0.1's password: "
                assert script.asked[0] == (PromptKind.PASSWORD, question, False)
                again = f"Permission denied, please try again.\n{question}"
                assert script.asked[1] == (PromptKind.PASSWORD, again, False)
                await made.connect(interactive=False)
                assert len(script.asked) == 2 and "secret" not in repr(vars(made))

        run(check)


def test_a_wrong_password_is_asked_for_three_times_and_never_remembered(tmp_path: Path) -> None:
    with peer(tmp_path, "password") as config:
        script = Script("a", "b", "c")

        async def check() -> None:
            async with connector(config, Endpoint("127.0.0.1", user="ann"), script) as made:
                with pytest.raises(MountError) as caught:
                    await made.connect(interactive=True)
                assert caught.value.failure is Failure.AUTHENTICATION
                told = caught.value.message
                assert told.startswith("ann@127.0.0.1 port ") and told.endswith(
                    " refuses to let us in (methods tried: password): check the user name and the password"
                )
                with pytest.raises(MountError):
                    await made.connect(interactive=False)
            assert script.unused == 0 and len(script.asked) == 3

        run(check)


def test_a_secret_that_was_valid_once_is_not_sent_again_and_again(tmp_path: Path) -> None:
    """Once it might be a password; then it is known not to be, by whichever method."""
    with peer(tmp_path, "one_time") as config:

        async def check() -> None:
            async with connector(config, Endpoint("127.0.0.1"), Script("secret")) as made:
                await made.connect(interactive=True)
                for _ in range(3):
                    with pytest.raises(MountError) as caught:
                        await made.connect(interactive=False)
                    assert caught.value.failure is Failure.AUTHENTICATION

        run(check)
        assert (tmp_path / "peer_one_time.tries").read_text() == "secret\n" * 2


@pytest.mark.parametrize("words", [(), ("hangs up",)])
def test_what_a_server_says_as_it_refuses_is_passed_on(tmp_path: Path, words: tuple[str, ...]) -> None:
    """As pam_nologin does; it is a refusal, too, where the connection ends with it, and tried as rarely."""
    with peer(tmp_path, "closed", *words) as config:
        error = failure_of(config, Endpoint("127.0.0.1"), Script("secret", "secret", "secret"))
    assert error.failure is Failure.AUTHENTICATION
    assert "it says 'The system is going down at 18:00. Go home.'" in error.message


def test_batch_mode_never_asks(tmp_path: Path) -> None:
    with peer(tmp_path, "password") as config:
        options = (*config.ssh_options, ("BatchMode", "yes"))

        async def check() -> None:
            script = Script()
            batch = TransportConfig(ssh_config_file="none", ssh_options=options)
            async with connector(batch, Endpoint("127.0.0.1"), script) as made:
                with pytest.raises(MountError) as caught:
                    await made.connect(interactive=True)
            assert "BatchMode" in caught.value.message and not script.asked

        run(check)


def test_several_rounds_of_questions_are_one_time_answers(tmp_path: Path) -> None:
    with peer(tmp_path, "questions") as config:
        script = Script("blue", "42", "123456")

        async def check() -> None:
            async with connector(config, Endpoint("127.0.0.1"), script) as made:
                transport = await made.connect(interactive=True)
                await handshake_of(transport)
                assert [kind for kind, _, _ in script.asked] == [PromptKind.ONE_TIME] * 3
                assert [echo for _, _, echo in script.asked] == [True, False, False]
                assert "Two questions" in script.asked[0][1]
                with pytest.raises(MountError) as caught:
                    await made.connect(interactive=False)
                assert caught.value.failure is Failure.AUTHENTICATION
                assert "keyboard-interactive" in caught.value.message
                further = await transport.open_channel()  # what a pool does instead
                await handshake(further)
                further.close()

        run(check)


def test_what_the_server_offers_is_told(tmp_path: Path) -> None:
    with peer(tmp_path, "password") as config:

        async def check() -> None:
            async with connector(config, Endpoint("127.0.0.1", user="ann"), Script("secret")) as made:
                transport = await made.connect(interactive=True)
                assert " by password, server " in transport.about
                assert transport.about.endswith("; the server offers password")

        run(check)


def test_the_one_question_password_is_a_password(tmp_path: Path) -> None:
    with peer(tmp_path, "single") as config:
        script = Script("secret")

        async def check() -> None:
            async with connector(config, Endpoint("127.0.0.1"), script) as made:
                await made.connect(interactive=True)
                assert script.asked[0][0] is PromptKind.PASSWORD
                await made.connect(interactive=False)

        run(check)


def test_the_password_comes_from_stdin_once(tmp_path: Path) -> None:
    with peer(tmp_path, "password") as config:
        with_stdin = TransportConfig(
            ssh_config_file="none", ssh_options=config.ssh_options, password_stdin=True
        )
        saved = os.dup(0)
        read_end, write_end = os.pipe()
        os.write(write_end, b"secret\nnot for us\n")
        os.dup2(read_end, 0)
        try:

            async def check() -> None:
                async with connector(with_stdin, Endpoint("127.0.0.1")) as made:
                    await made.connect(interactive=True)
                    await made.connect(interactive=False)
                assert os.read(0, 100) == b"not for us\n"

            run(check)
        finally:
            os.dup2(saved, 0)
            for fd in (saved, read_end, write_end):
                os.close(fd)
