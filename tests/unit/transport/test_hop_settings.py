"""ssh_config as ssh reads it, and what is decided from it."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from pathlib import Path

import pytest

from sftpfs.errors import Failure, MountError
from sftpfs.transport.ssh_config.keywords import HANDLED, IGNORED
from sftpfs.transport.ssh_config.proxy_jump import Hop
from sftpfs.transport.ssh_config.reader import HostConfig
from sftpfs.transport.ssh_config.words import match_patterns, split_keyword, split_words
from sftpfs.transport.worker.hop_settings import Defaults, Settings, StrictChecking, settings_for

DEFAULTS = Defaults(connect_timeout=20.0, keepalive_interval=15.0, keepalive_count=3, compression=False)


def read(
    path: Path, text: str, host: str = "work", *options: tuple[str, str], user: str | None = None
) -> HostConfig:
    path.write_text(text)
    config = HostConfig(host, user)
    config.add_options(options)
    config.add_files(str(path))
    return config


def decide(*options: tuple[str, str], host: str = "work") -> Settings:
    config = HostConfig(host)
    config.add_options(options)
    return settings_for(config, DEFAULTS)


def test_the_first_value_wins_and_options_come_first(tmp_path: Path) -> None:
    text = "Host work\n  Port 2022\n  User ann\nHost *\n  Port 22\n  Compression yes\n"
    config = read(tmp_path / "c", text, "work", ("user", "bob"))
    assert (config.port, config.user, config.flag("compression", False)) == (2022, "bob", True)
    assert read(tmp_path / "c", text, "work", ("user", "bob"), user="eve").user == "eve"
    assert read(tmp_path / "c", text, "home").port == 22


def test_identity_files_add_up(tmp_path: Path) -> None:
    config = read(tmp_path / "c", "IdentityFile b\nIdentityFile c\n", "work", ("IdentityFile", "a"))
    assert config.words("identityfile") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Port 22", ("Port", "22")),
        ("Port=22", ("Port", "22")),
        ("Port = 22", ("Port", "22")),
        ("\tProxyCommand\tnc -X 5 %h %p", ("ProxyCommand", "nc -X 5 %h %p")),
        ("Port", ("Port", "")),
    ],
)
def test_keywords(line: str, words: tuple[str, str]) -> None:
    assert split_keyword(line.strip()) == words


def test_words() -> None:
    assert split_words('a "b c" d # e', "x") == ["a", "b c", "d"]
    assert split_words("DOMAIN\\user", "x") == ["DOMAIN\\user"]
    with pytest.raises(MountError) as caught:
        split_words('"open', "file line 3")
    assert "file line 3" in caught.value.message


@pytest.mark.parametrize(
    ("patterns", "subject", "expected"),
    [
        (["*"], "any", True),
        (["a?c"], "abc", True),
        (["*.org", "!bad.org"], "good.org", True),
        (["*.org", "!bad.org"], "bad.org", False),
        (["!bad.org"], "good.org", False),
        (["[a]"], "a", False),
        (["[a]"], "[a]", True),
        (["HOST"], "host", True),
    ],
)
def test_patterns(patterns: list[str], subject: str, expected: bool) -> None:
    assert match_patterns(patterns, subject) is expected


def test_match_blocks(tmp_path: Path) -> None:
    text = (
        "Host alias\n HostName real.example.org\n"
        "Match host *.example.org user ann\n Port 1\n"
        "Match originalhost alias\n Port 2\n"
        "Match exec 'test %h = real.example.org'\n ServerAliveCountMax 7\n"
        "Match !exec true\n ServerAliveInterval 9\n"
        "Match final host real.example.org\n ConnectTimeout 5\n"
        "Match all\n ConnectTimeout 6\n"
    )
    config = read(tmp_path / "c", text, "alias")
    assert config.port == 2
    assert config.number("serveralivecountmax", 0) == 7
    assert not config.has("serveraliveinterval")
    assert config.seconds("connecttimeout", 0) == 6
    assert read(tmp_path / "c", text, "alias", user="ann").port == 1


@pytest.mark.parametrize(
    ("line", "sftp_server", "holds"),
    [
        ("localnetwork 127.0.0.0/8", "sftp", True),
        ("localnetwork 198.51.100.0/24,127.0.0.1", "sftp", True),
        ("localnetwork 198.51.100.0/24,2001:db8::/32", "sftp", False),
        ("!localnetwork 198.51.100.0/24", "sftp", True),
        ("sessiontype subsystem", "sftp", True),
        ("sessiontype shell,exec", "sftp", False),
        ("sessiontype exec", "/usr/lib/sftp-server", True),
        ("sessiontype none", "", True),
        ("command sftp", "sftp", True),
        ("command rsync*", "sftp", False),
    ],
)
def test_what_ssh_is_told_of_the_network_and_the_session_is_judged(
    tmp_path: Path, line: str, sftp_server: str, holds: bool
) -> None:
    (tmp_path / "c").write_text(f"Match {line}\n Port 7\n")
    config = HostConfig("host", sftp_server=sftp_server)
    config.add_files(str(tmp_path / "c"))
    assert (config.port == 7) is holds and not config.unjudged


def test_what_cannot_be_judged_is_named_and_its_lines_are_passed_over(tmp_path: Path) -> None:
    config = read(tmp_path / "c", "Match version OpenSSH_10*\n Port 7\nMatch user x version y\n Port 8\n")
    assert config.port == 22
    assert config.unjudged == [f"{tmp_path}/c line 1: Match version"]
    with pytest.raises(MountError) as caught:
        read(tmp_path / "c", "Match localnetwork 10.0.0.0/99\n")
    assert "line 1: Match localnetwork" in caught.value.message


def test_includes(tmp_path: Path) -> None:
    (tmp_path / "one.conf").write_text("Port 1\nHost other\n Port 9\n")
    (tmp_path / "two.conf").write_text("User two\n")
    text = f"Host nobody\n Include {tmp_path}/none\nHost work\n Include {tmp_path}/*.conf\n HostName after\n"
    config = read(tmp_path / "c", text)
    assert (config.port, config.user, config.host) == (1, "two", "after")


def test_an_include_of_itself_ends(tmp_path: Path) -> None:
    with pytest.raises(MountError) as caught:
        read(tmp_path / "c", f"Include {tmp_path}/c\n")
    assert caught.value.failure is Failure.CONFIGURATION


def test_tokens_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYS", "/keys")
    monkeypatch.setenv("HOME", "/home/another")
    home = pwd.getpwuid(os.getuid()).pw_dir
    options = (
        ("HostName", "%h.example.org"),
        ("ProxyCommand", "nc '%h' %p %% %n %r"),
        ("IdentityFile", "${KEYS}/%n"),
        ("UserKnownHostsFile", "~/hosts %d/more"),
        ("Port", "7"),
        ("User", "bob"),
    )
    settings = decide(*options)
    assert settings.host == "work.example.org"
    assert settings.proxy_command == "nc 'work.example.org' 7 % work bob"
    assert settings.identity_files == ("/keys/work",) and settings.identities_given
    assert settings.user_known_hosts == (f"{home}/hosts", f"{home}/more")
    with pytest.raises(MountError):
        decide(("IdentityFile", "${NO_SUCH_VARIABLE_HERE}/x"))
    with pytest.raises(MountError):
        decide(("IdentityFile", "%z"))


def test_the_login_name_is_that_of_the_uid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "another")
    ours = pwd.getpwuid(os.getuid()).pw_name
    assert decide().user == ours
    text = f"Match localuser another\n Port 1\nMatch localuser {ours}\n Port 2\nProxyCommand nc %u %r\n"
    settings = settings_for(read(tmp_path / "c", text), DEFAULTS)
    assert (settings.port, settings.proxy_command) == (2, f"nc {ours} {ours}")


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    settings = decide()
    assert (settings.port, settings.family, settings.strict) == (22, socket.AF_UNSPEC, StrictChecking.ASK)
    assert (settings.keepalive_interval, settings.keepalive_count) == (15.0, 3)
    assert settings.agent == "/agent" and decide(("IdentityAgent", "none")).agent is None
    assert decide(("IdentityAgent", "SSH_AUTH_SOCK")).agent == "/agent"
    assert settings.algorithms == {} and settings.least_rsa_bits == 1024
    assert decide(("Ciphers", "aes256-ctr")).algorithms["Ciphers"] == "aes256-ctr"
    assert settings.known_hosts_name == "work"


def test_times_and_switches() -> None:
    assert decide(("ServerAliveInterval", "1m30s")).keepalive_interval == 90
    assert decide(("ServerAliveInterval", "0")).keepalive_interval == 0
    assert decide(("ConnectTimeout", "none")).connect_timeout == 20
    assert decide(("StrictHostKeyChecking", "off")).strict is StrictChecking.NO
    assert decide(("PubkeyAuthentication", "unbound")).pubkey
    assert not decide(("ChallengeResponseAuthentication", "no")).keyboard_interactive
    assert decide(("ProxyJump", "a,b@c:3")).proxy_jump == (Hop(None, "a", None), Hop("b", "c", 3))
    assert decide(("ProxyJump", "none"), ("ProxyCommand", "none")).proxy_command is None


@pytest.mark.parametrize(
    "option",
    [
        ("Port", "x"),
        ("Port", "70000"),
        ("Port", "0"),
        ("ConnectTimeout", "soon"),
        ("BatchMode", "perhaps"),
        ("StrictHostKeyChecking", "sometimes"),
        ("AddressFamily", "ipx"),
        ("User", ""),
        ("RevokedHostKeys", "/etc/ssh/revoked"),
        ("IdentityFile", "/a b/id"),
        ("CertificateFile", "/a b/id-cert.pub"),
    ],
)
def test_values_that_make_no_sense(option: tuple[str, str]) -> None:
    with pytest.raises(MountError) as caught:
        decide(option)
    assert caught.value.failure is Failure.CONFIGURATION and "\n" not in caught.value.message


def test_a_file_name_with_a_blank() -> None:
    """In quotes, as in ssh, which refuses what follows a name."""
    assert decide(("IdentityFile", '"/a b/id"')).identity_files == ("/a b/id",)
    with pytest.raises(MountError, match='written "/a b/id"'):
        decide(("IdentityFile", "/a b/id"))


def test_unknown_keywords_of_files_are_passed_over_and_kept_for_the_log(tmp_path: Path) -> None:
    config = read(tmp_path / "c", "FutureOption yes\nForwardX11 yes\nPort 3\n")
    assert config.port == 3 and config.unused == ["FutureOption", "ForwardX11"]


def test_names_in_known_hosts() -> None:
    assert decide(("Port", "2"), host="Work").known_hosts_name == "[work]:2"
    assert decide(("Port", "2"), host="Work").bare_name == "work"
    aliased = decide(("Port", "2"), ("HostKeyAlias", "Alias"))
    assert aliased.known_hosts_name == "alias" and aliased.bare_name is None


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RevokedHostKeys", "/etc/ssh/revoked"),
        ("KnownHostsCommand", "/bin/true"),
        ("CheckHostIP", "yes"),
        ("CanonicalizeHostname", "always"),
        ("ProxyUseFdpass", "yes"),
        ("GSSAPIServerIdentity", "other.example"),
        ("RefuseConnection", "'not from here'"),
    ],
)
def test_what_checks_or_chooses_the_server_and_cannot_be_done_is_refused_with_its_name(
    keyword: str, value: str
) -> None:
    with pytest.raises(MountError) as caught:
        decide((keyword, value))
    assert caught.value.failure is Failure.CONFIGURATION and keyword in caught.value.message
    if keyword != "RefuseConnection":
        decide((keyword, "no" if value in ("yes", "always") else "none"))
    else:
        assert "not from here" in caught.value.message


def test_every_keyword_of_the_installed_ssh_was_decided_on() -> None:
    listing = subprocess.run(
        ["ssh", "-G", "-F", "none", "host"], capture_output=True, text=True, check=True, timeout=20
    ).stdout
    printed = {line.partition(" ")[0].lower() for line in listing.splitlines()}
    unknown = printed - HANDLED - IGNORED - {"host"}
    assert unknown <= {"gssapikexalgorithms"}, "Debian's; refused as unknown"
    assert not HANDLED & IGNORED


SWITCHES = {
    "batchmode": "batch",
    "compression": "compression",
    "gssapiauthentication": "gssapi",
    "gssapidelegatecredentials": "gssapi_delegate",
    "gssapikeyexchange": "gssapi_key_exchange",
    "hashknownhosts": "hash_known_hosts",
    "identitiesonly": "identities_only",
    "kbdinteractiveauthentication": "keyboard_interactive",
    "passwordauthentication": "password",
    "pubkeyauthentication": "pubkey",
    "tcpkeepalive": "tcp_keepalive",
}


@pytest.mark.parametrize("text", ["", "Host *\n  GSSAPIAuthentication yes\n  HashKnownHosts yes\n"])
def test_what_nobody_set_is_as_the_installed_ssh_has_it(tmp_path: Path, text: str) -> None:
    """The second as a distribution sets it in /etc/ssh/ssh_config."""
    file = tmp_path / "config"
    settings = settings_for(read(file, text), DEFAULTS)
    listing = subprocess.run(
        ["ssh", "-G", "-F", str(file), "work"], capture_output=True, text=True, check=True, timeout=20
    ).stdout
    theirs = dict(line.split(" ", 1) for line in listing.splitlines() if " " in line)
    known = {keyword: field for keyword, field in SWITCHES.items() if keyword in theirs}
    assert len(known) >= 8, "GSSAPI may be missing"
    for keyword, field in known.items():
        assert getattr(settings, field) is (theirs[keyword] in ("yes", "true")), keyword
    assert settings.strict.value == theirs["stricthostkeychecking"]
    assert settings.prompts == int(theirs["numberofpasswordprompts"])
    assert " ".join(settings.global_known_hosts) == theirs["globalknownhostsfile"]
    assert " ".join(settings.user_known_hosts) == theirs["userknownhostsfile"]


def test_of_jump_and_proxy_command_the_first_obtained_counts(tmp_path: Path) -> None:
    jump, command = ("ProxyJump", "gate"), ("ProxyCommand", "nc gate 22")
    for first, second in ((jump, command), (command, jump)):
        from_file = read(tmp_path / "c", f"{second[0]} {second[1]}\n", "work", first)
        for config in (from_file, HostConfig("work")):
            config.add_options([first, second])
            settings = settings_for(config, DEFAULTS)
            assert bool(settings.proxy_jump) is (first is jump)
            assert bool(settings.proxy_command) is (first is command)
    settings = decide(("ProxyCommand", "none"), jump, command)
    assert not settings.proxy_jump and settings.proxy_command is None
    settings = decide(("ProxyJump", "none"), jump, command)
    assert not settings.proxy_jump and settings.proxy_command == "nc gate 22"


def test_a_length_asked_for_cannot_be_below_what_is_ever_taken() -> None:
    assert decide(("RequiredRSASize", "512")).least_rsa_bits == 1024
    assert decide(("RequiredRSASize", "4096")).least_rsa_bits == 4096


def test_of_two_names_for_one_keyword_the_first_obtained_counts(tmp_path: Path) -> None:
    given = ("PubkeyAcceptedKeyTypes", "x")
    config = read(tmp_path / "c", "PubkeyAcceptedAlgorithms +ssh-rsa\n", "work", given)
    assert settings_for(config, DEFAULTS).algorithms == {"PubkeyAcceptedAlgorithms": "x"}
    text = "ChallengeResponseAuthentication no\nKbdInteractiveAuthentication yes\nKeepAlive no\n"
    settings = settings_for(read(tmp_path / "c", f"{text}DSAAuthentication no\n"), DEFAULTS)
    assert not settings.keyboard_interactive and not settings.tcp_keepalive and not settings.pubkey
