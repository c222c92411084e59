"""Who the server is, with OpenSSH's client beside: certificates, revocations, what a mount holds to."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftpfs.config import Endpoint, TransportConfig
from sftpfs.errors import Failure, MountError
from sftpfs.transport.messages import HostKey
from tests.sshd import Sshd, generate_key
from tests.transport_helpers import (
    Script,
    both_let_in,
    both_refuse,
    configure,
    connector,
    endpoint_of,
    failure_of,
    peer,
    run,
    ssh_lets_in,
    success_of,
)


def certify(authority: Path, key: Path, *options: str, names: str = "127.0.0.1") -> None:
    """Sign ``key``'s public half as a host's; the certificate is beside it."""
    command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "host", "-h", *options]
    command += ["-n", names] if names else []
    subprocess.run([*command, f"{key}.pub"], check=True, timeout=20)


def public(key: Path) -> str:
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])


class Certified:
    """A server that shows its key in a certificate of ``authority``."""

    def __init__(self, directory: Path, authority_kind: str = "ed25519") -> None:
        self.directory = directory
        self.server = Sshd(
            directory / "sshd", config_extra=f"HostCertificate {directory}/sshd/host_ed25519-cert.pub"
        )
        self.authority = generate_key(directory / "ca", authority_kind)
        self.key = self.server.host_keys[0]
        certify(self.authority, self.key)

    def knows(self, *lines: str, **extra: str) -> TransportConfig:
        """A configuration whose known_hosts has ``lines``."""
        hosts = self.directory / "known_hosts"
        hosts.write_text("".join(f"{line}\n" for line in lines))
        return configure(self.server, ("UserKnownHostsFile", str(hosts)), *extra.items())


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certified]:
    made = Certified(tmp_path_factory.mktemp("certified"))
    with made.server:
        yield made


# --- revoked


@pytest.mark.parametrize("names", ["*", "[127.0.0.1]:{port}"])
@pytest.mark.parametrize("what", ["certified key", "authority", "plain key"])
def test_a_revoked_key_is_refused_whatever_vouches_for_it(
    certified: Certified, names: str, what: str
) -> None:
    key = certified.authority if what == "authority" else certified.key
    trusted = f"@cert-authority * {public(certified.authority)}"
    if what == "plain key":
        trusted = f"[127.0.0.1]:{certified.server.port} {public(certified.key)}"
    both_let_in(certified.server, certified.knows(trusted))
    revoked = f"@revoked {names.format(port=certified.server.port)} {public(key)}"
    told = both_refuse(certified.server, certified.knows(trusted, revoked), Failure.HOST_KEY_CHANGED)
    assert "is revoked by" in told and "line 2" in told
    assert ("authority" in told) is (what == "authority")


@pytest.mark.parametrize("what", ["certified key", "authority", "plain key"])
def test_a_key_revoked_for_the_bare_name_is_refused_on_every_port(certified: Certified, what: str) -> None:
    """ssh looks there only where the name with its port says nothing; who wrote the line meant the host."""
    key = certified.authority if what == "authority" else certified.key
    trusted = f"@cert-authority 127.0.0.1 {public(certified.authority)}"
    if what == "plain key":
        trusted = f"127.0.0.1 {public(certified.key)}"
    both_let_in(certified.server, certified.knows(trusted))
    config = certified.knows(trusted, f"@revoked 127.0.0.1 {public(key)}")
    both_refuse(certified.server, config, Failure.HOST_KEY_CHANGED)
    with_port = f"[127.0.0.1]:{certified.server.port} {public(certified.key)}"
    config = certified.knows(with_port, f"@revoked 127.0.0.1 {public(certified.key)}")
    assert ssh_lets_in(certified.server, config)
    assert failure_of(config, endpoint_of(certified.server)).failure is Failure.HOST_KEY_CHANGED


def test_a_key_revoked_elsewhere_is_no_matter(certified: Certified) -> None:
    trusted = f"@cert-authority * {public(certified.authority)}"
    config = certified.knows(trusted, f"@revoked other.example {public(certified.key)}")
    both_let_in(certified.server, config)


@pytest.mark.parametrize("strict", ["no", "accept-new"])
def test_nothing_overrides_a_revocation(certified: Certified, strict: str) -> None:
    config = certified.knows(f"@revoked * {public(certified.key)}", StrictHostKeyChecking=strict)
    assert failure_of(config, endpoint_of(certified.server)).failure is Failure.HOST_KEY_CHANGED


# --- certificates


FAULTS = {
    "expired": (("-V", "20200101:20200102"), "127.0.0.1"),
    "not yet valid": (("-V", "20400101:20400102"), "127.0.0.1"),
    "for another host": ((), "other.example"),
    "for a pattern": ((), "127.0.*"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_certificate_that_does_not_count_leaves_its_key_to_be_known(tmp_path: Path, fault: str) -> None:
    made = Certified(tmp_path)
    options, names = FAULTS[fault]
    certify(made.authority, made.key, *options, names=names)
    authority = f"@cert-authority * {public(made.authority)}"
    with made.server:
        both_refuse(made.server, made.knows(authority), Failure.HOST_KEY_UNKNOWN)
        plain = f"[127.0.0.1]:{made.server.port} {public(made.key)}"
        both_let_in(made.server, made.knows(authority, plain))


def test_a_certificate_by_nobody_known_leaves_its_key_to_be_known(certified: Certified) -> None:
    other = generate_key(certified.directory / "other-ca")
    authority = f"@cert-authority * {public(other)}"
    both_refuse(certified.server, certified.knows(authority), Failure.HOST_KEY_UNKNOWN)
    plain = f"[127.0.0.1]:{certified.server.port} {public(certified.key)}"
    both_let_in(certified.server, certified.knows(authority, plain))


def test_what_a_certificate_says_is_logged_as_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sftpfs")
    made = Certified(tmp_path)
    certify(made.authority, made.key, names="elsewhere\nEnter passphrase for key 'k': \x1b[2K")
    with made.server:
        config = made.knows(f"@cert-authority * {public(made.authority)}")
        assert failure_of(config, endpoint_of(made.server)).failure is Failure.HOST_KEY_UNKNOWN
    told = [record.getMessage() for record in caplog.records]
    assert any("does not count: it is for elsewhere Enter passphrase" in line for line in told), told
    assert not any(line.startswith("Enter") or "\x1b" in line for line in told)


@pytest.mark.parametrize("names", ["", "elsewhere,127.0.0.1"])
def test_whom_a_certificate_is_for(tmp_path: Path, names: str) -> None:
    made = Certified(tmp_path)
    certify(made.authority, made.key, names=names)
    with made.server:
        both_let_in(made.server, made.knows(f"@cert-authority * {public(made.authority)}"))


def test_an_authority_that_signs_with_sha1_is_refused(tmp_path: Path) -> None:
    made = Certified(tmp_path, "rsa")
    authority = f"@cert-authority * {public(made.authority)}"
    with made.server:
        both_let_in(made.server, made.knows(authority, PubkeyAcceptedAlgorithms="ssh-ed25519"))
    certify(made.authority, made.key, "-t", "ssh-rsa")
    with made.server:
        both_refuse(made.server, made.knows(authority), Failure.HOST_KEY_UNKNOWN)
        # what our own keys may sign with is another matter
        config = made.knows(authority, PubkeyAcceptedAlgorithms="+ssh-rsa")
        both_refuse(made.server, config, Failure.HOST_KEY_UNKNOWN)
        both_let_in(made.server, made.knows(authority, CASignatureAlgorithms="+ssh-rsa"))


# --- what a mount holds to


NOWHERE = ("UserKnownHostsFile", "none")


def with_another_key(server: Sshd) -> None:
    """The server comes back with a new key."""
    server.stop()
    for path in (server.host_keys[0], Path(f"{server.host_keys[0]}.pub")):
        path.unlink()
    generate_key(server.host_keys[0], server.host_keys[0].name.removeprefix("host_"))
    server.start()


@pytest.mark.parametrize("strict", ["ask", "accept-new", "no"])
def test_the_key_of_the_first_login_is_held_to_without_a_file_and_another_one_is_refused(
    tmp_path: Path, strict: str
) -> None:
    with Sshd(tmp_path / "sshd") as server:
        config = configure(server, NOWHERE, ("StrictHostKeyChecking", strict))

        async def check() -> None:
            script = Script("yes") if strict == "ask" else Script()
            async with connector(config, endpoint_of(server), script) as made:
                first = await made.connect(interactive=True)
                assert first.host_key is (HostKey.CONFIRMED if strict == "ask" else HostKey.TAKEN)
                further = await made.connect(interactive=False)
                assert further.host_key is first.host_key, "what nobody checked is called checked"
                with_another_key(server)
                with pytest.raises(MountError) as caught:
                    await made.connect(interactive=True)
                assert caught.value.failure is Failure.HOST_KEY_CHANGED
                assert "has changed since the mount was made" in caught.value.message
                assert script.unused == 0

        run(check, server)


def test_the_key_that_was_known_is_held_to_though_the_file_goes_and_the_file_may_know_another(
    tmp_path: Path,
) -> None:
    with Sshd(tmp_path / "sshd") as server:

        async def check() -> None:
            async with connector(configure(server), endpoint_of(server)) as made:
                first = await made.connect(interactive=False)
                server.known_hosts.unlink()
                again = await made.connect(interactive=False)
                assert (first.host_key, again.host_key) == (HostKey.KNOWN, HostKey.KNOWN)
                with_another_key(server)
                with pytest.raises(MountError) as caught:
                    await made.connect(interactive=False)
                assert caught.value.failure is Failure.HOST_KEY_CHANGED
                server.write_known_hosts()
                await made.connect(interactive=False)
                server.known_hosts.unlink()
                await made.connect(interactive=False)

        run(check, server)


def test_a_key_revoked_since_or_contradicted_is_not_held_to(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:

        async def check() -> None:
            async with connector(configure(server), endpoint_of(server)) as made:
                await made.connect(interactive=False)
                key = public(server.host_keys[0])
                other = public(generate_key(tmp_path / "other"))
                for line in (f"@revoked * {key}", f"[127.0.0.1]:{server.port} {other}"):
                    server.known_hosts.write_text(f"{line}\n")
                    with pytest.raises(MountError) as caught:
                        await made.connect(interactive=False)
                    assert caught.value.failure is Failure.HOST_KEY_CHANGED

        run(check, server)


def test_the_kind_of_key_held_to_is_asked_for_again(tmp_path: Path) -> None:
    server = Sshd(tmp_path / "sshd", host_key_kinds=("ed25519", "ecdsa"))
    both = list(server.host_keys)
    server.host_keys = both[1:]
    with server:

        async def check() -> None:
            config = configure(server, NOWHERE, ("StrictHostKeyChecking", "accept-new"))
            async with connector(config, endpoint_of(server)) as made:
                await made.connect(interactive=False)
                server.stop()
                server.host_keys = both
                server.start()
                await made.connect(interactive=False)

        run(check, server)


@pytest.mark.parametrize("strict", ["yes", "accept-new"])
def test_of_a_certificate_the_authority_is_held_to(tmp_path: Path, strict: str) -> None:
    """Its next certificate may hold another key; without a certificate the server is not the one it was."""
    made_server = Certified(tmp_path)
    server = made_server.server
    authority = f"@cert-authority * {public(made_server.authority)}"
    config = made_server.knows(authority, StrictHostKeyChecking=strict)

    async def check() -> None:
        async with connector(config, endpoint_of(server)) as made:
            await made.connect(interactive=False)
            made_server.knows()  # nothing any more
            with_another_key(server)
            certify(made_server.authority, made_server.key)
            server.stop()
            server.start()
            again = await made.connect(interactive=False)
            assert again.host_key is HostKey.CERTIFIED
            certify(made_server.authority, made_server.key, "-V", "20200101:20200102")
            server.stop()
            server.start()
            with pytest.raises(MountError) as caught:
                await made.connect(interactive=False)
            assert caught.value.failure is Failure.HOST_KEY_CHANGED
            assert "certified by" in caught.value.message

    with server:
        run(check, server)


def test_each_hop_is_held_to(tmp_path: Path) -> None:
    with Sshd(tmp_path / "gate") as gate, Sshd(tmp_path / "inner") as inner:
        path = tmp_path / "config"
        lines = []
        for alias, server, extra in (("gate", gate, ""), ("vault", inner, "ProxyJump gate")):
            options = dict(server.ssh_options()) | {
                "UserKnownHostsFile": "none",
                "StrictHostKeyChecking": "accept-new",
            }
            lines += [f"Host {alias}", f"HostName {server.host}", f"Port {server.port}", extra]
            lines += [f"{name} {value}" for name, value in options.items()]
        path.write_text("\n".join(lines) + "\n")

        async def check() -> None:
            async with connector(TransportConfig(ssh_config_file=str(path)), Endpoint("vault")) as made:
                await made.connect(interactive=False)
                await made.connect(interactive=False)
                with_another_key(gate)
                with pytest.raises(MountError) as caught:
                    await made.connect(interactive=False)
                assert caught.value.failure is Failure.HOST_KEY_CHANGED
                assert caught.value.message.startswith("jump host: ")

        run(check, gate, inner)


# --- length


def test_a_host_key_shorter_than_asked_for_is_refused(tmp_path: Path) -> None:
    server = Sshd(tmp_path / "sshd", host_key_kinds=("rsa",))
    with server:
        both_let_in(server, configure(server, ("RequiredRSASize", "3072")))
        told = both_refuse(server, configure(server, ("RequiredRSASize", "4096")), Failure.PROTOCOL)
        assert "3072 bits" in told and "RequiredRSASize asks for 4096" in told


def test_a_host_key_that_comes_back_takes_the_mount_back(tmp_path: Path) -> None:
    """What was refused leaves nothing behind."""
    with Sshd(tmp_path / "sshd") as server:
        config = configure(server, NOWHERE, ("StrictHostKeyChecking", "no"))
        kept = {path: path.read_bytes() for path in (server.host_keys[0], Path(f"{server.host_keys[0]}.pub"))}

        async def check() -> None:
            async with connector(config, endpoint_of(server)) as made:
                await made.connect(interactive=False)
                with_another_key(server)
                with pytest.raises(MountError):
                    await made.connect(interactive=False)
                server.stop()
                for path, content in kept.items():
                    path.write_bytes(content)
                server.start()
                await made.connect(interactive=False)

        run(check, server)


def test_another_mount_decides_anew(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:
        config = configure(server, NOWHERE, ("StrictHostKeyChecking", "no"))
        success_of(config, endpoint_of(server))
        with_another_key(server)
        success_of(config, endpoint_of(server))


# --- the proof


def test_a_key_proved_with_another_signature_than_agreed_on_is_refused(tmp_path: Path) -> None:
    """The server agrees to rsa-sha2-512, and signs with SHA-1."""
    with peer(tmp_path, "sha1", host_key="rsa") as config:
        command = ["ssh", "-F", "none", *(f"-o{name}={value}" for name, value in config.ssh_options)]
        command += ["-oBatchMode=yes", "127.0.0.1", "true"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
        assert done.returncode == 255 and b"signature" in done.stderr, done.stderr
        error = failure_of(config, Endpoint("127.0.0.1"))
        assert error.failure is Failure.PROTOCOL and "does not prove" in error.message
        wished = (*config.ssh_options, ("HostKeyAlgorithms", "+ssh-rsa"))
        success_of(TransportConfig(ssh_config_file="none", ssh_options=wished), Endpoint("127.0.0.1"))
