"""known_hosts: matching, verdicts, storing; and what a person is shown."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.transport.keys import known_hosts
from sftpfs.transport.keys.known_hosts import KnownHosts, Verdict, parse_line
from tests.harness.corpus import tried_first


def key(kind: str, content: bytes = b"x" * 32) -> bytes:
    name = kind.encode()
    return struct.pack(">I", len(name)) + name + struct.pack(">I", len(content)) + content


ED = key("ssh-ed25519")
OTHER_ED = key("ssh-ed25519", b"y" * 32)
RSA = key("ssh-rsa")


def line(name: str, blob: bytes, marker: str = "") -> str:
    text = f"{name} {known_hosts.key_type(blob)} {base64.b64encode(blob).decode()} comment"
    return f"@{marker} {text}" if marker else text


def known(*lines: str) -> KnownHosts:
    entries = [parse_line(text, "file", number) for number, text in enumerate(lines, 1)]
    return KnownHosts(entry for entry in entries if entry is not None)


def verdict(hosts: KnownHosts, name: str, blob: bytes, bare: str | None = None) -> Verdict:
    return hosts.check(name, bare, blob).verdict


def test_verdicts() -> None:
    hosts = known(line("a,b", ED), line("c", OTHER_ED), line("d", RSA))
    assert verdict(hosts, "a", ED) is Verdict.KNOWN
    assert verdict(hosts, "b", ED) is Verdict.KNOWN
    assert verdict(hosts, "c", ED) is Verdict.CHANGED
    assert verdict(hosts, "d", ED) is Verdict.UNKNOWN  # a key of another type says nothing
    assert verdict(hosts, "e", ED) is Verdict.UNKNOWN


def test_the_line_of_a_changed_key_is_told() -> None:
    hosts = known("# comment", "", line("a", RSA), line("a", OTHER_ED))
    entry = hosts.check("a", None, ED).entry
    assert entry is not None and (entry.file, entry.line) == ("file", 4)


@pytest.mark.parametrize("name", ["*", "a,b", "!a", "a?", "[*]:2222", "a b", "#a", "@revoked", "|1|x|y"])
def test_a_name_that_reads_as_a_pattern_vouches_for_no_other_host(tmp_path: Path, name: str) -> None:
    """A host name, HostName or HostKeyAlias: the key that is kept for it is kept for it alone."""
    path = tmp_path / "known"
    known_hosts.store(str(path), name, ED, hashed=False)
    hosts = KnownHosts.read([str(path)])
    assert verdict(hosts, name, ED) is Verdict.KNOWN
    for other in ("a", "b", "ab", "other", "[a]:2222"):
        assert verdict(hosts, other, ED) is Verdict.UNKNOWN


def test_one_right_key_among_several_is_enough() -> None:
    assert verdict(known(line("a", OTHER_ED), line("a", ED)), "a", ED) is Verdict.KNOWN


def test_a_key_is_revoked_for_the_name_with_and_without_its_port() -> None:
    for name, revoked in (("*", True), ("a", True), ("[a]:2", True), ("b", False), ("[a]:3", False)):
        entry = known(line("a", ED), line(name, ED, "revoked")).revoked("[a]:2", "a", ED)
        assert (entry is not None and entry.line == 2) is revoked, name
    assert known(line("a", ED), line("*", OTHER_ED, "revoked")).revoked("a", None, ED) is None


def test_the_bare_name_can_only_help() -> None:
    assert verdict(known(line("a", ED)), "[a]:2", ED, "a") is Verdict.KNOWN
    assert verdict(known(line("a", OTHER_ED)), "[a]:2", ED, "a") is Verdict.UNKNOWN
    assert verdict(known(line("[a]:2", OTHER_ED), line("a", ED)), "[a]:2", ED, "a") is Verdict.CHANGED


def test_wildcards_and_negation() -> None:
    hosts = known(line("*.org,!bad.org", ED))
    assert verdict(hosts, "good.org", ED) is Verdict.KNOWN
    assert verdict(hosts, "bad.org", ED) is Verdict.UNKNOWN


def test_hashed_names_match_only_their_host() -> None:
    hosts = known(known_hosts.entry_text("[a]:2", ED, hashed=True))
    assert verdict(hosts, "[a]:2", ED) is Verdict.KNOWN
    assert verdict(hosts, "[a]:3", ED) is Verdict.UNKNOWN


def test_authorities() -> None:
    hosts = known(line("*.org", ED, "cert-authority"), line("x.org", OTHER_ED, "cert-authority"))
    assert hosts.has_authority("a.org", None) and not hosts.has_authority("a.com", None)
    assert hosts.trusts_authority("a.org", None, ED)
    assert not hosts.trusts_authority("a.org", None, OTHER_ED)
    assert verdict(hosts, "a.org", ED) is Verdict.UNKNOWN  # an authority is no host key


def test_known_types_are_those_of_the_port() -> None:
    hosts = known(line("a", RSA), line("[a]:7", ED))
    assert hosts.known_types("a") == {"ssh-rsa"}
    assert hosts.known_types("[a]:7") == {"ssh-ed25519"}


@tried_first(__file__, "known_hosts", lambda line: [(line.decode(),)])
@given(st.text(max_size=200))
def test_no_line_of_a_file_can_break_it(text: str) -> None:
    entry = parse_line(text, "file", 1)
    if entry is not None:
        entry.matches("host")


@given(st.binary(max_size=100))
def test_no_key_of_a_server_can_break_it(blob: bytes) -> None:
    known(line("a", ED)).check("a", None, blob)
    assert known_hosts.fingerprint(blob).startswith("SHA256:")


def test_storing_appends_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "dir" / "known_hosts"
    known_hosts.store(str(path), "a", ED, False)
    known_hosts.store(str(path), "b", RSA, True)
    lines = path.read_text().splitlines()
    assert len(lines) == 2 and lines[0].startswith("a ssh-ed25519 ") and lines[1].startswith("|1|")
    assert verdict(KnownHosts.read([str(path), str(tmp_path / "missing")]), "b", RSA) is Verdict.KNOWN


def test_answers() -> None:
    assert known_hosts.agrees("yes", ED) is True
    assert known_hosts.agrees(known_hosts.fingerprint(ED), ED) is True
    assert known_hosts.agrees(known_hosts.fingerprint(RSA), ED) is None
    assert known_hosts.agrees("no", ED) is False
    assert known_hosts.agrees(None, ED) is False
    assert known_hosts.agrees("y", ED) is None
