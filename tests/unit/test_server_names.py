"""Names of hosts and users: what ssh refuses is refused, what it takes is taken."""

from __future__ import annotations

import subprocess

import pytest

from sftpfs.errors import Failure, MountError
from sftpfs.server_names import host_fault, shell_user_fault, user_fault
from sftpfs.transport.ssh_config.proxy_jump import jump_hops
from sftpfs.transport.ssh_config.reader import HostConfig

CHARACTERS = [chr(code) for code in range(1, 128)]
PLACES = ("a{}b", "{}ab", "ab{}")


def ssh_takes(*arguments: str) -> bool:
    """Whether ssh goes on with these words; it connects to nobody."""
    done = subprocess.run(
        ["ssh", "-G", "-F", "none", *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=20
    )
    told = done.stderr.decode(errors="replace")
    assert not done.returncode or "invalid" in told.lower(), told
    return done.returncode == 0


@pytest.mark.parametrize("place", PLACES)
def test_hosts_beside_ssh(place: str) -> None:
    for name in (place.format(c) for c in CHARACTERS if c not in "@/"):
        assert bool(host_fault(name)) is not ssh_takes("--", name), repr(name)


@pytest.mark.parametrize("place", [*PLACES, "a{}-b"])
def test_users_beside_ssh(place: str) -> None:
    for name in (place.format(c) for c in CHARACTERS):
        assert bool(user_fault(name)) is not ssh_takes("-l", name, "host"), repr(name)


@pytest.mark.parametrize("place", PLACES)
def test_jump_hosts_beside_ssh(place: str) -> None:
    """Each hop, the first and the next; ssh knows no ``none`` or scheme among them."""
    for name in (place.format(c) for c in CHARACTERS if c not in "@/:#,[]"):
        for jump in (name, f"{name}@j", f"j,{name}", f"{name},j"):
            try:
                jump_hops(jump)
            except MountError as error:
                assert error.failure is Failure.CONFIGURATION
                assert "invalid" in error.message
                continue
            assert ssh_takes("-J", jump, "host"), repr(jump)


@pytest.mark.parametrize("name", ["joe$IFS-oX", "joe host", "$HOME", "a`b"])
def test_a_shell_is_given_no_user_of_several_words(name: str) -> None:
    assert "remote username contains invalid characters" in shell_user_fault(name)
    config = HostConfig("host", name)
    assert config.command("nc %h %p", "ProxyCommand") == "nc host 22"
    with pytest.raises(MountError) as caught:
        config.command("nc -l %r %h", "ProxyCommand")
    assert (
        caught.value.failure is Failure.CONFIGURATION and "ProxyCommand: remote user" in caught.value.message
    )


def test_names_that_are_right() -> None:
    for host in ("host", "a.example.org", "fe80::1%eth0", "10.0.0.1", "my_host", "bücher.example", "*", ""):
        assert host_fault(host) == ""
    for user in ("joe", "CORP\\joe", "joe@corp.example", "MACHINE$", "joe doe", ""):
        assert user_fault(user) == ""
    assert shell_user_fault("CORP\\joe") == ""
