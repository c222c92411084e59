"""Reaching the host with asyncssh workers: host keys, configuration, proxies, and words for failure."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sftpfs.config import Endpoint, TransportConfig, TransportKind
from sftpfs.errors import Failure, MountError
from sftpfs.transport.api import PromptKind
from tests.servers.daemons import Dropbear
from tests.servers.packages import Store
from tests.sshd import Sshd, free_port, generate_key
from tests.transport_helpers import (
    Script,
    both_let_in,
    both_refuse,
    configure,
    connector,
    endpoint_of,
    failure_of,
    run,
    says_once,
    success_of,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd"), host_key_kinds=("ed25519", "ecdsa")) as running:
        yield running


# --- host keys


def test_an_unknown_key_is_shown_asked_for_and_stored(server: Sshd, tmp_path: Path) -> None:
    hosts = tmp_path / "new" / "known_hosts"
    config = configure(server, ("UserKnownHostsFile", str(hosts)), ("StrictHostKeyChecking", "ask"))
    script = Script("what?", "yes")
    success_of(config, endpoint_of(server), script)
    kind, text, echo = script.asked[0]
    assert kind is PromptKind.CONFIRM and echo
    listing = subprocess.run(
        ["ssh-keygen", "-l", "-f", f"{server.host_keys[0]}.pub"], capture_output=True, text=True, check=True
    )
    assert listing.stdout.split()[1] in text and "(yes/no/[fingerprint])?" in text
    assert hosts.read_text() == f"[127.0.0.1]:{server.port} {server.public_host_key()}\n"
    assert stat.S_IMODE(hosts.stat().st_mode) == 0o600
    assert stat.S_IMODE(hosts.parent.stat().st_mode) == 0o700
    success_of(config, endpoint_of(server), Script())


def test_the_fingerprint_typed_is_a_yes_and_hashing_hides_the_name(server: Sshd, tmp_path: Path) -> None:
    hosts = tmp_path / "known_hosts"
    hosts.write_text("# no newline at the end")
    config = configure(
        server,
        ("UserKnownHostsFile", str(hosts)),
        ("StrictHostKeyChecking", "ask"),
        ("HashKnownHosts", "yes"),
    )

    def typed(text: str) -> str:
        found = re.search(r"SHA256:[A-Za-z0-9+/]+", text)
        assert found
        return found[0]

    success_of(config, endpoint_of(server), Script(typed))
    assert "127.0.0.1" not in hosts.read_text() and "|1|" in hosts.read_text()
    found = subprocess.run(
        ["ssh-keygen", "-F", f"[127.0.0.1]:{server.port}", "-f", str(hosts)], capture_output=True, check=True
    )
    assert b"ed25519" in found.stdout
    success_of(config, endpoint_of(server))


def test_a_refused_key_is_not_stored(server: Sshd, tmp_path: Path) -> None:
    hosts = tmp_path / "known_hosts"
    config = configure(server, ("UserKnownHostsFile", str(hosts)), ("StrictHostKeyChecking", "ask"))
    assert failure_of(config, endpoint_of(server), Script("no")).failure is Failure.HOST_KEY_UNKNOWN
    error = failure_of(config, endpoint_of(server))
    assert error.failure is Failure.HOST_KEY_UNKNOWN and "accept-new" in error.message
    assert not hosts.exists()


def test_strict_checking_refuses_and_accept_new_and_no_store_without_asking(
    server: Sshd, tmp_path: Path
) -> None:
    strict = configure(server, ("UserKnownHostsFile", str(tmp_path / "strict")))
    error = failure_of(strict, endpoint_of(server), Script())
    assert error.failure is Failure.HOST_KEY_UNKNOWN and "StrictHostKeyChecking" in error.message
    for value in ("accept-new", "no", "off"):
        hosts = tmp_path / value
        config = configure(server, ("UserKnownHostsFile", str(hosts)), ("StrictHostKeyChecking", value))
        success_of(config, endpoint_of(server), Script())
        assert hosts.read_text().count("\n") == 1
        success_of(config, endpoint_of(server), Script())
        assert hosts.read_text().count("\n") == 1


@pytest.mark.parametrize("strict", ["ask", "yes", "accept-new", "no"])
def test_a_changed_key_is_refused_with_file_and_line(server: Sshd, tmp_path: Path, strict: str) -> None:
    other = generate_key(tmp_path / "other").with_suffix(".pub").read_text()
    hosts = tmp_path / "known_hosts"
    hosts.write_text(f"# a comment\n\n[127.0.0.1]:{server.port} {other}")
    config = configure(server, ("UserKnownHostsFile", str(hosts)), ("StrictHostKeyChecking", strict))
    error = failure_of(config, endpoint_of(server), Script())
    assert error.failure is Failure.HOST_KEY_CHANGED
    assert f"{hosts} line 3" in error.message
    assert f"ssh-keygen -f '{hosts}' -R '[127.0.0.1]:{server.port}'" in error.message


def test_a_revoked_key_is_refused(server: Sshd, tmp_path: Path) -> None:
    hosts = tmp_path / "known_hosts"
    key = server.public_host_key()
    hosts.write_text(f"[127.0.0.1]:{server.port} {key}\n@revoked * {key}\n")
    error = failure_of(configure(server, ("UserKnownHostsFile", str(hosts))), endpoint_of(server))
    assert error.failure is Failure.HOST_KEY_CHANGED
    assert "revoked" in error.message and "line 2" in error.message


def test_the_kind_of_key_that_is_known_is_asked_of_the_server(server: Sshd, tmp_path: Path) -> None:
    hosts = tmp_path / "known_hosts"
    for index in range(2):
        hosts.write_text(f"[127.0.0.1]:{server.port} {server.public_host_key(index)}\n")
        success_of(configure(server, ("UserKnownHostsFile", str(hosts))), endpoint_of(server))


@pytest.mark.parametrize("known", ["for the bare name", "as well"])
def test_the_kind_preferred_is_asked_for_where_only_another_is_known_elsewhere(
    tmp_path: Path, known: str
) -> None:
    """dropbear with an ed25519 key alone offers RSA, too, and ends where that is preferred; ssh gets in."""
    rsa = " ".join(generate_key(tmp_path / "rsa", "rsa").with_suffix(".pub").read_text().split()[:2])
    server = Dropbear(tmp_path / "server", Store(tmp_path / "packages"))
    with server.running(tmp_path):
        options = dict(word.split("=", 1) for word in server.options(server.port))
        port = options.pop("port")
        hosts = Path(options["UserKnownHostsFile"])
        if known == "as well":
            hosts.write_text(f"[127.0.0.1]:{port} {rsa}\n{hosts.read_text()}")
        else:
            hosts.write_text(f"127.0.0.1 {rsa}\n")
        options |= {"Port": port, "User": "root", "StrictHostKeyChecking": "accept-new"}
        config = TransportConfig(ssh_config_file="none", ssh_options=tuple(options.items()))
        success_of(config, Endpoint("127.0.0.1"))


def test_an_authority_vouches_for_the_host(tmp_path: Path) -> None:
    directory = tmp_path / "sshd"
    certified = f"HostCertificate {directory}/host_ed25519-cert.pub"
    server = Sshd(directory, config_extra=certified)
    authority = generate_key(tmp_path / "ca")
    command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "host", "-h", "-n", "127.0.0.1"]
    subprocess.run([*command, f"{server.host_keys[0]}.pub"], check=True, timeout=20)
    hosts = tmp_path / "known_hosts"
    with server:
        public = authority.with_suffix(".pub").read_text()
        hosts.write_text(f"@cert-authority [127.0.0.1]:* {public}")
        success_of(configure(server, ("UserKnownHostsFile", str(hosts))), endpoint_of(server))
        hosts.write_text(f"@cert-authority *.example.org {public}")
        error = failure_of(configure(server, ("UserKnownHostsFile", str(hosts))), endpoint_of(server))
        assert error.failure is Failure.HOST_KEY_UNKNOWN


# --- words for failure


def test_refused(server: Sshd) -> None:
    port = free_port()
    error = failure_of(configure(server), Endpoint("127.0.0.1", port=port))
    assert error.failure is Failure.REFUSED and f"127.0.0.1 port {port}" in error.message


def test_name_not_found(server: Sshd) -> None:
    error = failure_of(configure(server), Endpoint("no-such-host.invalid"))
    assert error.failure is Failure.NAME_NOT_FOUND and "no-such-host.invalid" in error.message


def test_a_server_that_never_answers_times_out(server: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = configure(server, ("ConnectTimeout", "1"))
        error = failure_of(config, Endpoint("127.0.0.1", port=silent.getsockname()[1]))
    assert error.failure is Failure.TIMED_OUT and "1 s" in error.message


@contextmanager
def saying(words: bytes, hangs_up: bool = True) -> Iterator[Endpoint]:
    """A server that says ``words`` to whoever connects, and hears them out; or waits for more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = os.fork()
        if child == 0:
            try:
                while True:
                    connection, _ = listener.accept()
                    connection.sendall(words)
                    if hangs_up:
                        connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
                    connection.close()
            finally:
                os._exit(0)
        try:
            yield Endpoint("127.0.0.1", port=listener.getsockname()[1])
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n" * 2000,
        b"SSH-2.0-\xff\xfe\xc3\xa9\r\n",
        b"SSH-1.5-old\r\n",
    ],
)
def test_what_does_not_speak_ssh_is_told_as_such(server: Sshd, words: bytes) -> None:
    with saying(words) as endpoint:
        error = failure_of(configure(server), endpoint)
    assert error.failure is Failure.PROTOCOL and "does not speak SSH 2" in error.message
    assert "codec" not in error.message and "Errno" not in error.message


@pytest.mark.parametrize("hangs_up", [True, False])
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (b"220 mail.example ESMTP\x1b[2J\r\n", "220 mail.example ESMTP[2J"),
        (b"no newline", "no newline"),
    ],
)
def test_another_service_on_the_port_is_quoted(server: Sshd, words: bytes, line: str, hangs_up: bool) -> None:
    """Whether it hangs up on us or waits for what it understands."""
    with saying(words, hangs_up) as endpoint:
        error = failure_of(configure(server, ("ConnectTimeout", "2")), endpoint)
    assert error.failure is Failure.PROTOCOL
    assert error.message == (
        f"what answers at 127.0.0.1 port {endpoint.port} does not speak SSH 2: it says '{line}'; "
        "check host and port (-p)"
    )


@pytest.mark.parametrize("words", [b"Exceeded MaxStartups\r\n", b"Not allowed at this time\r\n"])
def test_a_server_without_room_is_none_that_speaks_no_ssh(server: Sshd, words: bytes) -> None:
    with saying(words) as endpoint:
        error = failure_of(configure(server), endpoint)
    assert error.failure is Failure.TRANSPORT
    assert f"takes no further connection just now: it says '{words.decode().strip()}'" in error.message


@pytest.mark.parametrize("words", [b"Exceeded MaxStartups\r\n", b"Not allowed at this time\r\n"])
def test_what_a_server_without_room_says_is_passed_on_for_ssh(server: Sshd, words: bytes) -> None:
    """It tells nobody by itself."""
    config = configure(server, kind=TransportKind.COMMAND, ssh_command=("ssh",))

    async def check() -> None:
        with saying(words) as endpoint:
            async with connector(config, endpoint) as made:
                transport = await made.connect(interactive=False)
                await transport.closed.wait()
                assert transport.failure is Failure.TRANSPORT
                assert transport.reason.endswith(f"; the server says '{words.decode().strip()}'")

    run(check)


def test_what_breaks_off_is_told_without_numbers(server: Sshd) -> None:
    with saying(b"") as endpoint:
        error = failure_of(configure(server), endpoint)
    assert error.failure is Failure.TRANSPORT
    assert "closed the connection before it said a word" in error.message
    with saying(b"SSH-2.0-OpenSSH_9.9\r\n") as endpoint:
        error = failure_of(configure(server), endpoint)
    assert error.failure is Failure.PROTOCOL and "broke off as keys were to be exchanged" in error.message
    assert "Errno" not in error.message


def test_no_sftp_subsystem_names_the_line_the_server_needs(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", subsystem=None) as server:

        async def check() -> None:
            async with connector(configure(server), endpoint_of(server)) as made:
                transport = await made.connect(interactive=False)
                with pytest.raises(MountError) as caught:
                    await transport.open_channel()
            assert caught.value.failure is Failure.NO_SFTP
            assert "Subsystem sftp" in caught.value.message and says_once(caught.value.message)

        run(check)
        by_path = configure(server, sftp_server="/usr/lib/openssh/sftp-server")
        success_of(by_path, endpoint_of(server))


def test_channels_beyond_what_the_server_allows_are_refused_and_the_rest_go_on(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", config_extra="MaxSessions 1") as server:

        async def check() -> None:
            async with connector(configure(server), endpoint_of(server)) as made:
                transport = await made.connect(interactive=False)
                stream = await transport.open_channel()
                with pytest.raises(MountError) as caught:
                    await transport.open_channel()
                assert caught.value.failure is Failure.TRANSPORT
                assert not transport.closed.is_set()
                stream.close()

        run(check)


def test_unknown_options_are_named_and_known_ones_without_meaning_accepted(server: Sshd) -> None:
    error = failure_of(configure(server, ("Identityfiel", "x")), endpoint_of(server))
    assert error.failure is Failure.USAGE and "'Identityfiel'" in error.message
    config = configure(server, ("ForwardX11", "no"), ("ControlPath", "none"), ("loglevel", "QUIET"))
    success_of(config, endpoint_of(server))
    config = configure(server, ("PubkeyAcceptedAlgorithms", "+ssh-rsa"), ("MACs", "+hmac-sha1"))
    success_of(config, endpoint_of(server))


# --- configuration and proxies


def write_config(path: Path, server: Sshd, alias: str, *extra: str) -> str:
    lines = [f"Host {alias}", f"HostName {server.host}", f"Port {server.port}", *extra]
    lines += [f"{name} {value}" for name, value in server.ssh_options()]
    path.write_text(path.read_text() + "\n".join(lines) + "\n" if path.exists() else "\n".join(lines) + "\n")
    return str(path)


def test_an_alias_of_the_configuration_file(server: Sshd, tmp_path: Path) -> None:
    path = write_config(tmp_path / "config", server, "work", "ServerAliveInterval 10", "Ciphers aes256-ctr")
    success_of(TransportConfig(ssh_config_file=path), Endpoint("work"))
    missing = failure_of(TransportConfig(ssh_config_file=str(tmp_path / "none")), Endpoint("work"))
    assert missing.failure is Failure.CONFIGURATION


def test_options_win_over_the_file(server: Sshd, tmp_path: Path) -> None:
    path = write_config(tmp_path / "config", server, "work", "Ciphers no-such-cipher")
    config = TransportConfig(ssh_config_file=path)
    error = failure_of(config, Endpoint("work"))
    assert error.failure is Failure.CONFIGURATION and "no-such-cipher" in error.message
    config = TransportConfig(ssh_config_file=path, ssh_options=(("Ciphers", "aes256-ctr"),))

    async def check() -> None:
        async with connector(config, Endpoint("work")) as made:
            transport = await made.connect(interactive=False)
            assert transport.cipher == "aes256-ctr"  # type: ignore[attr-defined]

    run(check)


def test_a_jump_host(server: Sshd, tmp_path: Path) -> None:
    with Sshd(tmp_path / "inner") as inner:
        path = tmp_path / "config"
        write_config(path, server, "gate")
        write_config(path, inner, "vault", "ProxyJump gate")
        before = server.log().count("Accepted publickey")
        success_of(TransportConfig(ssh_config_file=str(path)), Endpoint("vault"))
        assert server.log().count("Accepted publickey") == before + 1
    error = failure_of(TransportConfig(ssh_config_file=str(path)), Endpoint("vault"))
    assert error.failure is Failure.UNREACHABLE and "jump host" in error.message
    nowhere = configure(server, ("ProxyJump", f"127.0.0.1:{free_port()}"))
    error = failure_of(nowhere, endpoint_of(server))
    assert error.failure is Failure.REFUSED and error.message.startswith("jump host: ")


def test_a_proxy_command(server: Sshd) -> None:
    command = ("ProxyCommand", "socat - TCP:%h:%p")
    success_of(configure(server, command), endpoint_of(server))
    broken = configure(server, ("ProxyCommand", "echo out of order >&2; exit 3"))
    error = failure_of(broken, endpoint_of(server))
    assert error.failure is Failure.UNREACHABLE
    assert "proxy command" in error.message and "out of order" in error.message


def test_what_a_proxy_command_says_is_read_while_it_works(server: Sshd) -> None:
    """More than a pipe and what reads it ahead hold: it waited for ever before it connected."""
    talkative = "sh -c 'head -c 1000000 /dev/zero >&2; exec socat - TCP:%h:%p'"
    success_of(configure(server, ("ProxyCommand", talkative)), endpoint_of(server))


@pytest.mark.parametrize(("wanted", "agreed"), [(True, "zlib@openssh.com"), (False, "none")])
def test_compression(tmp_path: Path, wanted: bool, agreed: str) -> None:
    """As the server tells what was agreed on, both ways."""
    with Sshd(tmp_path / "sshd", config_extra="LogLevel DEBUG1") as server:
        success_of(configure(server, compression=wanted), endpoint_of(server))
        told = re.findall(r"kex: (client->server|server->client) .* compression: (\S+)", server.log())
    assert dict(told) == {"client->server": agreed, "server->client": agreed}


def test_of_two_ways_to_the_host_the_one_given_first_is_taken(server: Sshd, tmp_path: Path) -> None:
    """The command line's, whatever the file has; ssh beside."""
    file = tmp_path / "config"
    nowhere, way = f"127.0.0.1:{free_port()}", "socat - TCP:%h:%p"
    for in_file, given, gets_in in (
        (f"ProxyJump {nowhere}", ("ProxyCommand", way), True),
        (f"ProxyJump {nowhere}", ("ProxyCommand", "none"), True),
        (f"ProxyCommand {way}", ("ProxyJump", nowhere), False),
        ("ProxyCommand false", ("ProxyJump", "none"), False),
        (f"ProxyJump {nowhere}\nProxyCommand {way}", None, False),
        (f"ProxyCommand {way}\nProxyJump {nowhere}", None, True),
    ):
        file.write_text(f"{in_file}\n")
        extra = [given] if given is not None else []
        config = configure(server, *extra, ssh_config_file=str(file))
        words = ["ssh", "-F", str(file), "-p", str(server.port), "-oBatchMode=yes"]
        words += [f"-o{name}={value}" for name, value in config.ssh_options]
        done = subprocess.run([*words, server.host, "true"], capture_output=True, timeout=20, check=False)
        if given != ("ProxyJump", "none"):  # OpenSSH 10.2 leaves out the file's ProxyCommand, 10.0 does not
            assert (done.returncode == 0) is gets_in, (in_file, given, done.stderr)
        if gets_in:
            success_of(config, endpoint_of(server))
        else:
            failure_of(config, endpoint_of(server))


def test_the_interface_named_is_the_one_used(server: Sshd) -> None:
    both_let_in(server, configure(server, ("BindInterface", "lo")))
    told = both_refuse(server, configure(server, ("BindInterface", "none-such")), Failure.UNREACHABLE)
    assert "No such device" in told
