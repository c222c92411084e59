"""Which algorithms are taken from a server, with OpenSSH's client beside: its defaults, and the options."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from asyncssh.kex import get_kex_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from sftpfs.errors import Failure, MountError
from sftpfs.transport.worker.algorithms import agreed
from tests.sshd import Sshd, generate_key
from tests.transport_helpers import (
    both_let_in,
    both_refuse,
    configure,
    connector,
    endpoint_of,
    failure_of,
    run,
    ssh_lets_in,
)

SHA1 = {
    "KexAlgorithms": "diffie-hellman-group14-sha1",
    "HostKeyAlgorithms": "ssh-rsa",
}


@pytest.mark.parametrize("keyword", SHA1)
def test_a_server_that_has_nothing_but_sha1_is_refused_until_it_is_asked_for(
    tmp_path: Path, keyword: str
) -> None:
    algorithm = SHA1[keyword]
    with Sshd(tmp_path / "sshd", config_extra=f"{keyword} {algorithm}", host_key_kinds=("rsa",)) as server:
        told = both_refuse(server, configure(server), Failure.PROTOCOL)
        assert "-o HostKeyAlgorithms=+ssh-rsa" in told
        for wish in (f"+{algorithm}", f"^{algorithm}", algorithm):
            both_let_in(server, configure(server, (keyword, wish)))


def test_our_own_rsa_key_does_not_sign_with_sha1_until_it_is_asked_to(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "rsa", "rsa")
    with Sshd(tmp_path / "sshd", config_extra="PubkeyAcceptedAlgorithms ssh-rsa") as server:
        server.authorize(Path(f"{key}.pub"))
        both_refuse(server, configure(server, ("IdentityFile", str(key))), Failure.AUTHENTICATION)
        for keyword in ("PubkeyAcceptedAlgorithms", "PubkeyAcceptedKeyTypes"):
            both_let_in(server, configure(server, ("IdentityFile", str(key)), (keyword, "ssh-rsa")))


def test_a_key_of_ours_whose_signatures_are_not_accepted_is_not_offered(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:
        config = configure(server, ("PubkeyAcceptedAlgorithms", "-ssh-ed25519"))
        told = both_refuse(server, config, Failure.AUTHENTICATION)
        assert "PubkeyAcceptedAlgorithms" in told


def test_a_key_of_ours_shorter_than_asked_for_is_not_offered(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "rsa", "rsa")
    with Sshd(tmp_path / "sshd") as server:
        server.authorize(Path(f"{key}.pub"))
        identity = ("IdentityFile", str(key))
        both_let_in(server, configure(server, identity, ("RequiredRSASize", "3072")))
        config = configure(server, identity, ("RequiredRSASize", "4096"))
        told = both_refuse(server, config, Failure.AUTHENTICATION)
        assert "RSA of 3072 bits, where RequiredRSASize asks for 4096" in told


@pytest.mark.parametrize("keyword", ["KexAlgorithms", "HostKeyAlgorithms", "Ciphers"])
def test_a_list_from_which_everything_is_taken_is_refused(tmp_path: Path, keyword: str) -> None:
    with Sshd(tmp_path / "sshd") as server:
        config = configure(server, (keyword, "-*"))
        assert not ssh_lets_in(server, config)
        error = failure_of(config, endpoint_of(server))
        assert error.failure is Failure.CONFIGURATION and keyword in error.message


def test_what_is_added_may_be_a_pattern_for_keys_alone(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", host_key_kinds=("rsa",)) as server:
        both_let_in(server, configure(server, ("HostKeyAlgorithms", "rsa-sha2-*")))
        both_refuse(server, configure(server, ("KexAlgorithms", "ecdh-*")), Failure.CONFIGURATION)


def test_lists_are_made_of_our_defaults() -> None:
    usual = agreed({})
    for names in (usual.kex, usual.host_keys, usual.user_keys, usual.authorities):
        assert names and not [name for name in names if "sha1" in name or "ssh-rsa" in name or "dss" in name]
    assert agreed({"KexAlgorithms": "-*-nistp*"}).kex == tuple(
        name for name in usual.kex if "-nistp" not in name
    )
    assert agreed({"KexAlgorithms": "^ecdh-sha2-nistp521"}).kex[0] == "ecdh-sha2-nistp521"
    assert agreed({"Ciphers": "+aes128-cbc"}).ciphers == (*usual.ciphers, "aes128-cbc")
    assert agreed({"PubkeyAcceptedAlgorithms": "+ssh-rsa"}).authorities == usual.authorities
    assert agreed({"CASignatureAlgorithms": "+ssh-rsa"}).user_keys == usual.user_keys
    assert agreed({"HostKeyAlgorithms": "ssh-rsa,no-such-thing"}).host_keys == ("ssh-rsa",)
    with pytest.raises(MountError) as caught:
        agreed({"MACs": "no-such-thing"})
    assert caught.value.failure is Failure.CONFIGURATION


def test_every_default_of_the_installed_ssh_that_the_library_has_is_ours() -> None:
    """The lists are OpenSSH's: what is in its configuration and not here is what asyncssh cannot do."""
    listing = subprocess.run(
        ["ssh", "-G", "-F", "none", "host"], capture_output=True, text=True, check=True, timeout=20
    ).stdout
    theirs = {line.partition(" ")[0]: line.partition(" ")[2].split(",") for line in listing.splitlines()}
    can = {name.decode() for name in (*get_kex_algs(), *get_certificate_algs(), *get_public_key_algs())}
    usual = agreed({})
    for keyword, ours in (
        ("kexalgorithms", usual.kex),
        ("hostkeyalgorithms", usual.host_keys),
        ("pubkeyacceptedalgorithms", usual.user_keys),
        ("casignaturealgorithms", usual.authorities),
    ):
        both = [name for name in theirs[keyword] if name in can]
        assert [name for name in ours if name in theirs[keyword]] == both, keyword


def test_the_order_somebody_gave_for_host_keys_is_kept(tmp_path: Path) -> None:
    server = Sshd(tmp_path / "sshd", host_key_kinds=("ed25519", "ecdsa"))
    hosts = tmp_path / "hosts"
    with server:
        hosts.write_text(f"[127.0.0.1]:{server.port} {server.public_host_key(0)}\n")
        known = ("UserKnownHostsFile", str(hosts))
        for wish in ("+ecdsa-sha2-nistp256", "-ssh-rsa"):
            both_let_in(server, configure(server, known, ("HostKeyAlgorithms", wish)))
        for wish in ("^ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256,ssh-ed25519"):
            config = configure(server, known, ("HostKeyAlgorithms", wish))
            both_refuse(server, config, Failure.HOST_KEY_UNKNOWN)


def test_a_limit_for_keys_is_heeded(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:
        for words in ("1G", "512M 1h", "default none"):
            both_let_in(server, configure(server, ("RekeyLimit", words)))

        async def check() -> None:
            config = configure(server, ("RekeyLimit", "many"))
            async with connector(config, endpoint_of(server)) as made:
                with pytest.raises(MountError) as caught:
                    await made.connect(interactive=False)
            assert caught.value.failure is Failure.CONFIGURATION

        run(check)
