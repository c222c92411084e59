"""OpenSSH's client as the transport: what it could not do has the same kinds as with our own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftpfs.config import Endpoint, PoolConfig, TransportConfig, TransportKind
from sftpfs.errors import Failure, MountError
from sftpfs.remote.pool.connection import Role, open_connection
from tests.sshd import Sshd, free_port, generate_key
from tests.transport_helpers import (
    configure,
    connector,
    endpoint_of,
    failure_of,
    run,
    says_once,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def by_ssh(config: TransportConfig) -> TransportConfig:
    """The same with OpenSSH's client."""
    return TransportConfig(
        kind=TransportKind.COMMAND,
        ssh_command=("ssh",),
        ssh_config_file=config.ssh_config_file,
        ssh_options=config.ssh_options,
        sftp_server=config.sftp_server,
    )


def failure_by_ssh(config: TransportConfig, endpoint: Endpoint) -> MountError:
    """The error a mount with ``ssh_command=ssh`` ends with."""
    found: list[MountError] = []

    async def check() -> None:
        async with connector(config, endpoint) as made:
            transport = await made.connect(interactive=False)
            try:
                with pytest.raises(MountError) as caught:
                    await open_connection(transport, Role.METADATA, 1, PoolConfig())
                found.append(caught.value)
            finally:
                transport.close()

    run(check)
    assert says_once(found[0].message), found[0].message
    return found[0]


def same_failure(config: TransportConfig, endpoint: Endpoint, failure: Failure) -> str:
    """Both end with ``failure``; ssh's words."""
    ours = failure_of(config, endpoint)
    theirs = failure_by_ssh(by_ssh(config), endpoint)
    assert (ours.failure, theirs.failure) == (failure, failure), (ours.message, theirs.message)
    assert "debug1" not in theirs.message
    return theirs.message


def test_the_host_is_not_reached(server: Sshd) -> None:
    config = configure(server)
    same_failure(config, Endpoint("no-such-host.invalid"), Failure.NAME_NOT_FOUND)
    told = same_failure(config, Endpoint("127.0.0.1", port=free_port()), Failure.REFUSED)
    assert "Connection refused" in told


def test_the_host_key_is_not_taken(server: Sshd, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    config = configure(server, ("UserKnownHostsFile", str(hosts)))
    same_failure(config, endpoint_of(server), Failure.HOST_KEY_UNKNOWN)
    other = generate_key(tmp_path / "other").with_suffix(".pub").read_text()
    hosts.write_text(f"[127.0.0.1]:{server.port} {other}")
    same_failure(config, endpoint_of(server), Failure.HOST_KEY_CHANGED)
    hosts.write_text(f"@revoked * {server.public_host_key()}\n")
    same_failure(config, endpoint_of(server), Failure.HOST_KEY_CHANGED)


def test_the_login_is_refused(server: Sshd, tmp_path: Path) -> None:
    stranger = generate_key(tmp_path / "stranger")
    config = configure(server, ("IdentityFile", str(stranger)))
    told = same_failure(config, endpoint_of(server), Failure.AUTHENTICATION)
    assert "Permission denied" in told


@pytest.mark.parametrize("end", ["\n", ""])
def test_the_login_is_refused_after_a_banner(tmp_path: Path, end: str) -> None:
    """Whatever it says, and where ssh's own words come behind it on one line."""
    banner = tmp_path / "banner"
    banner.write_text(f"ssh: Could not resolve hostname bank.example: Name or service not known{end}")
    stranger = generate_key(tmp_path / "stranger")
    with Sshd(tmp_path / "sshd", config_extra=f"Banner {banner}") as running:
        config = configure(running, ("IdentityFile", str(stranger)))
        same_failure(config, endpoint_of(running), Failure.AUTHENTICATION)


def test_too_many_keys(tmp_path: Path) -> None:
    keys = [("IdentityFile", str(generate_key(tmp_path / f"key{i}"))) for i in range(4)]
    with Sshd(tmp_path / "sshd", config_extra="MaxAuthTries 2") as running:
        same_failure(configure(running, *keys), endpoint_of(running), Failure.AUTHENTICATION)


def test_no_sftp(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", subsystem=None) as running:
        config = by_ssh(configure(running))
        assert failure_by_ssh(config, endpoint_of(running)).failure is Failure.NO_SFTP


def test_no_algorithms_and_a_configuration_that_makes_no_sense(tmp_path: Path) -> None:
    extra = "KexAlgorithms diffie-hellman-group14-sha1"
    with Sshd(tmp_path / "sshd", config_extra=extra) as running:
        same_failure(configure(running), endpoint_of(running), Failure.PROTOCOL)
        config = configure(running, ("StrictHostKeyChecking", "perhaps"))
        same_failure(config, endpoint_of(running), Failure.CONFIGURATION)


def test_a_proxy_that_fails(server: Sshd) -> None:
    config = configure(server, ("ProxyCommand", "echo out of order >&2; exit 3"))
    same_failure(config, endpoint_of(server), Failure.UNREACHABLE)
    config = configure(server, ("ProxyJump", f"127.0.0.1:{free_port()}"))
    assert failure_by_ssh(by_ssh(config), endpoint_of(server)).failure is Failure.UNREACHABLE


FORGED = (
    "ssh: Could not resolve hostname bank.example: Name or service not known",
    "ssh: connect to host bank.example port 22: Connection refused",
    "Host key verification failed.",
    "root@bank.example: Permission denied (publickey).",
    "/etc/ssh/ssh_config: line 1: Bad configuration option: x",
)


def forging(path: Path, line: str) -> str:
    """A program for the server that ends with ssh's own status, and what ssh would have said."""
    path.write_text(f"#!/bin/sh\nprintf '%s\\r\\n' '{line}' >&2\nexit 255\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("line", FORGED)
def test_a_server_that_let_us_in_cannot_word_the_kind_of_its_failure(
    server: Sshd, tmp_path: Path, line: str
) -> None:
    config = configure(server, sftp_server=forging(tmp_path / "program", line))
    error = failure_by_ssh(by_ssh(config), endpoint_of(server))
    assert error.failure is Failure.NO_SFTP
    assert error.message.endswith(f"status 255: {line}")


def test_over_a_master_a_server_cannot_either(server: Sshd, tmp_path: Path) -> None:
    extra = (("ControlPath", str(tmp_path / "master")),)
    config = configure(server, *extra, sftp_server=forging(tmp_path / "program", FORGED[0]))
    words = ["ssh", "-F", "none", "-p", str(server.port)]
    words += [f"-o{name}={value}" for name, value in config.ssh_options]
    with (tmp_path / "said").open("wb") as said:
        command = [*words, "-N", "-f", "-oControlMaster=yes", server.host]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stderr=said, timeout=20)
    try:
        error = failure_by_ssh(by_ssh(config), endpoint_of(server))
        assert error.failure is Failure.NO_SFTP and error.message.endswith(FORGED[0])
    finally:
        subprocess.run([*words, "-O", "exit", server.host], check=True, capture_output=True, timeout=20)


def test_who_chose_what_ssh_logs_sees_it_and_is_told_no_kinds(server: Sshd, tmp_path: Path) -> None:
    stranger = generate_key(tmp_path / "stranger")
    quiet = (("IdentityFile", str(stranger)), ("LogLevel", "ERROR"))
    config = by_ssh(configure(server, *quiet))
    assert failure_by_ssh(config, endpoint_of(server)).failure is Failure.NO_SFTP


@pytest.mark.parametrize("ssh", [False, True], ids=["asyncssh", "ssh"])
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/usr/sbin/nologin", "'This account is currently not available.'"),
        ("echo no room; exit 1", "'no room'"),
    ],
)
def test_what_is_said_in_place_of_sftp_is_passed_on(
    tmp_path: Path, ssh: bool, command: str, words: str
) -> None:
    """It tells more than the status behind it."""
    with Sshd(tmp_path / "sshd", config_extra=f"ForceCommand {command}") as closed:
        config = configure(closed)
        error = failure_by_ssh(by_ssh(config) if ssh else config, endpoint_of(closed))
    assert error.failure is Failure.PROTOCOL and words in error.message
