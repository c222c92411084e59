"""What to mount, as text: ``[user@]host:[dir]``, ``sftp://`` URLs, old fstab prefixes.

Pure. Refuses names of hosts and users that ssh refuses (``sftpfs.server_names``).
"""

from __future__ import annotations

import os
from urllib.parse import unquote_to_bytes, urlsplit

from sftpfs.cli.options.value_parsers import port
from sftpfs.config import Endpoint
from sftpfs.errors import Failure, MountError
from sftpfs.server_names import host_fault, user_fault

PREFIXES = ("sftpfs#", "sshfs#", "fuse#")
"""``program#spec`` is how fstab named a FUSE filesystem before ``fuse.program`` types."""

LAST_PORT = 65535
"""Of TCP."""

FORM = "expected [user@]host:[directory] or sftp://[user@]host[:port]/directory"


def parse_endpoint(text: str) -> Endpoint:
    """The endpoint that ``text`` names.

    Raises MountError(USAGE). The host may be empty (``:dir``): only some transports need none, and the caller
    checks that.
    """
    spec = text
    for prefix in PREFIXES:
        spec = spec.removeprefix(prefix)
    _check_scheme(spec)
    endpoint = _parse_url(spec) if spec.startswith("sftp://") else _parse_spec(spec)
    _check(text, endpoint)
    return endpoint


def _refuse(text: str, why: str) -> MountError:
    return MountError(Failure.USAGE, f"cannot read {text!r}: {why}")


def _parse_spec(spec: str) -> Endpoint:
    head, directory = _split(spec)
    bracketed = head.startswith("[") and head.endswith("]")
    if bracketed:
        head = head[1:-1]
    user, at, host = head.rpartition("@")
    if at and not user:
        raise _refuse(spec, "the user before @ is empty")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    number, colon, rest = directory.partition(":")
    if colon and number.isdecimal() and int(number) <= LAST_PORT and rest[:1] in ("", "/"):
        meant = f"-p {number} {head}:{rest}"
        raise _refuse(spec, f"a port is given as {meant} (a directory of that name: {head}:./{directory})")
    return Endpoint(host=host, directory=os.fsencode(directory), user=user or None)


def _check_scheme(spec: str) -> None:
    """Refuses ``ssh://host/dir``, which does not name a host ``ssh``."""
    scheme, mark, rest = spec.partition("://")
    if mark and scheme.isalpha() and scheme != "sftp":
        raise _refuse(spec, f"write sftp://{rest}")


def _without_colon(spec: str) -> str:
    """What is wrong with a server that has no colon, or none before a slash."""
    head, slash, rest = spec.partition("/")
    if not slash:
        return f"a server is written with a colon, {spec}:"
    if "@" in head and ":" not in head:
        return f"a server is written with a colon, {head}:/{rest}"
    return f"it has no host followed by a colon, {FORM}"


def _split(spec: str) -> tuple[str, str]:
    """The part naming user and host, and the directory."""
    opening = spec.find("[")
    colon = spec.find(":")
    slash = spec.find("/")
    if opening >= 0 and (colon < 0 or opening < colon) and (slash < 0 or opening < slash):
        closing = spec.find("]:")
        if closing < 0:
            raise _refuse(spec, "no ']:' after '[': write [::1]:directory")
        return spec[: closing + 1], spec[closing + 2 :]
    if colon < 0 or 0 <= slash < colon:
        raise _refuse(spec, _without_colon(spec))
    if spec[colon:].startswith("::") or (spec[:colon].count("@") == 0 and _looks_like_ipv6(spec)):
        raise _refuse(spec, "write an IPv6 address in brackets, [::1]:directory")
    return spec[:colon], spec[colon + 1 :]


def _looks_like_ipv6(spec: str) -> bool:
    words = spec.partition("/")[0].split(":")
    return len(words) >= 4 and all(
        len(word) <= 4 and all(c in "0123456789abcdefABCDEF" for c in word) for word in words[:-1]
    )


def _parse_url(url: str) -> Endpoint:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _refuse(url, f"{error}") from None
    try:
        number = parts.port
    except ValueError:
        raise _refuse(url, "the port is no number from 1 to 65535") from None
    if parts.password is not None:
        # urlsplit keeps the password out of hostname and username; it must not be repeated here
        raise MountError(
            Failure.USAGE,
            f"sftp://{parts.hostname or ''}: a password in the URL is seen by everybody on this machine; "
            "leave it out and be asked, or use password_stdin",
        )
    if parts.query or parts.fragment:
        raise _refuse(url, "write ? as %3F and # as %23 in an sftp:// URL")
    directory = unquote_to_bytes(parts.path)
    if directory in (b"/~", b"/~/", b""):
        directory = b""
    elif directory.startswith(b"/~/"):
        directory = directory[3:]
    user = unquote_to_bytes(parts.username).decode(errors="surrogateescape") if parts.username else None
    host = _url_host(parts.netloc)
    if not host:
        raise _refuse(url, f"no host in it, {FORM}")
    return Endpoint(host=host, directory=directory, user=user, port=port(str(number)) if number else None)


def _url_host(netloc: str) -> str:
    """The host as written (urlsplit folds it to lower case, which ssh_config's Host would notice)."""
    host = netloc.rpartition("@")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _check(text: str, endpoint: Endpoint) -> None:
    fault = host_fault(endpoint.host) or user_fault(endpoint.user or "")
    if fault:
        raise _refuse(text, fault)
    if any(c in "/@[]" for c in endpoint.host):
        raise _refuse(text, FORM)
    if b"\0" in endpoint.directory:
        raise _refuse(text, "the directory holds a NUL")
