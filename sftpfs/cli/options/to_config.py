"""Arguments → MountConfig: parses values, refuses conflicts, puts the parts together.

Pure, except that it reads the user database and the current directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sftpfs.cli.options import value_parsers
from sftpfs.cli.options.endpoint import parse_endpoint
from sftpfs.cli.options.parse import USAGE_HINT, Arguments, usage_error
from sftpfs.cli.options.row import Option
from sftpfs.cli.options.rows_connection import TRANSPORT_KINDS
from sftpfs.cli.options.ssh_keywords import absolute_paths
from sftpfs.config import Endpoint, IdMapping, MountConfig, SymlinkPolicy, TransportKind
from sftpfs.host.mountpoint import absolute_path
from sftpfs.server_names import user_fault

SELINUX = "/sys/fs/selinux"
"""Exists exactly if the kernel takes context= options; otherwise they would fail the mount."""

SSH_FIELDS: dict[str, tuple[str, Callable[[str], object]]] = {
    "Port": ("endpoint.port", value_parsers.port),
    "User": ("endpoint.user", value_parsers.text),
    "Compression": ("transport.compression", value_parsers.boolean),
    "ConnectTimeout": ("transport.connect_timeout", value_parsers.positive_seconds),
    "ServerAliveInterval": ("transport.keepalive_interval", value_parsers.seconds),
    "ServerAliveCountMax": ("transport.keepalive_count", value_parsers.integer(1, 1000)),
}
"""ssh_config keywords that are fields of the configuration themselves."""

WHOLLY_FIELDS = ("Port", "User")
"""Only the field of these is kept. The others stay keywords too, because those override ssh_config's files.
"""

HOSTLESS = (TransportKind.UNIX, TransportKind.VSOCK, TransportKind.PASSIVE)


def build_config(arguments: Arguments) -> MountConfig:
    """The configuration ``arguments`` describe. Raises MountError(USAGE)."""
    endpoint, mountpoint = _positionals(arguments.positionals)
    _check_exclusive(arguments.options)
    fields = _fields(arguments.options)
    _check_names(fields)
    ssh_options = _ssh_options(arguments.ssh_options, fields)
    config = _assemble(MountConfig(endpoint, mountpoint), fields)
    transport = replace(config.transport, ssh_options=ssh_options, kind=_transport_kind(arguments.options))
    fuse = replace(config.fuse, passthrough=_passthrough(arguments.options))
    config = replace(config, transport=transport, fuse=fuse, symlinks=_symlink_policy(arguments.options))
    _check_together(config)
    return config


def _positionals(words: list[str]) -> tuple[Endpoint, str]:
    if not words:
        raise usage_error(f"nothing to mount; {USAGE_HINT}")
    if len(words) == 1:
        parse_endpoint(words[0])
        raise usage_error(
            f"{words[0]} needs a directory to be mounted on: sftpfs {words[0]} DIRECTORY; {USAGE_HINT}"
        )
    if len(words) > 2:
        raise usage_error(f"one argument too many: {words[2]!r}; {USAGE_HINT}")
    if not words[1]:
        raise usage_error(f"the mountpoint is empty; {USAGE_HINT}")
    return parse_endpoint(words[0]), os.path.realpath(absolute_path(words[1]))


def _check_exclusive(options: list[tuple[Option, str | None]]) -> None:
    seen: dict[str, Option] = {}
    for option, _ in options:
        if not option.excludes:
            continue
        other = seen.setdefault(option.excludes, option)
        if other.name != option.name:
            raise usage_error(f"options {other.name} and {option.name} exclude each other: give one of them")


def _parse(name: str, parse: Callable[[str], object], text: str) -> object:
    try:
        return parse(text)
    except ValueError as error:
        raise usage_error(f"option {name}: expected {error}, not {text!r}") from None


def _fields(options: list[tuple[Option, str | None]]) -> dict[str, object]:
    """Dotted field → value. A later option wins, but one about fewer fields wins over one about more."""
    fields: dict[str, object] = {}
    for option, text in sorted(options, key=lambda item: -len(item[0].fields)):
        value = option.constant
        if option.parse is not None and text is not None:
            value = _parse(option.name or option.flags[0], option.parse, text)
        for field in option.fields:
            fields[field] = value
    return fields


def _check_names(fields: dict[str, object]) -> None:
    """Raises MountError(USAGE). Fills in the locale's character set if none is named."""
    if fields.get("names.modules"):
        fields.setdefault("names.to_code", value_parsers.character_set_here())
        return
    for name in ("from_code", "to_code"):
        if f"names.{name}" in fields:
            raise usage_error(f"option {name} needs modules=iconv")


def _ssh_options(given: list[tuple[str, str]], fields: dict[str, object]) -> tuple[tuple[str, str], ...]:
    """The keywords to keep; those with a field set it as well (the first wins, as in ssh)."""
    kept: list[tuple[str, str]] = []
    set_here: set[str] = set()
    for keyword, value in given:
        if keyword not in WHOLLY_FIELDS:
            kept.append((keyword, absolute_paths(keyword, value)))
        if keyword not in SSH_FIELDS:
            continue
        field, parse = SSH_FIELDS[keyword]
        parsed = _parse(keyword, parse, value)
        if field not in set_here:
            fields[field] = parsed
            set_here.add(field)
    if fields.get("transport.compression") and "transport.compression" not in set_here:
        kept.append(("Compression", "yes"))
    return tuple(kept)


def _assemble(config: MountConfig, fields: dict[str, object]) -> MountConfig:
    parts: dict[str, dict[str, Any]] = {}
    for dotted, value in fields.items():
        part, _, name = dotted.rpartition(".")
        parts.setdefault(part, {})[name] = value
    whole = parts.pop("", {})
    for part, changes in parts.items():
        whole[part] = replace(getattr(config, part), **changes)
    return replace(config, **whole)


def _transport_kind(options: list[tuple[Option, str | None]]) -> TransportKind:
    for option, _ in options:
        if option.name in TRANSPORT_KINDS:
            return TRANSPORT_KINDS[option.name]
    return TransportKind.ASYNCSSH


def _passthrough(options: list[tuple[Option, str | None]]) -> tuple[str, ...]:
    """Options for libfuse. Of a word and its ``no`` form the last one counts (``user,exec`` in fstab)."""
    chosen: dict[str, str] = {}
    for option, text in options:
        if not option.to_kernel or ("context" in option.name and not os.path.isdir(SELINUX)):
            continue
        topic = {"async": "sync"}.get(option.name, option.name.removeprefix("no"))
        chosen[topic] = option.name if text is None else f"{option.name}={text}"
    return tuple(chosen.values())


def _symlink_policy(options: list[tuple[Option, str | None]]) -> SymlinkPolicy:
    """sshfs allows these to be combined: following leaves no links to contain, and containing is the stricter
    one. Of containing and not containing the last one counts."""
    constants = [option.constant for option, _ in options if option.fields == ("symlinks",)]
    opposites = [one for one in constants if one in (SymlinkPolicy.CONTAIN, SymlinkPolicy.PASS)]
    given = set(constants) - set(opposites) | set(opposites[-1:])
    for policy in (SymlinkPolicy.FOLLOW, SymlinkPolicy.CONTAIN, SymlinkPolicy.TRANSFORM, SymlinkPolicy.PASS):
        if policy in given:
            return policy
    return SymlinkPolicy.CONTAIN


def _check_together(config: MountConfig) -> None:
    endpoint, ownership = config.endpoint, config.ownership
    if not endpoint.host and config.transport.kind not in HOSTLESS:
        raise usage_error(f"no host named; {USAGE_HINT}")
    if ownership.id_mapping is IdMapping.FILE and not (ownership.uid_file or ownership.gid_file):
        raise usage_error("option idmap=file needs uidfile=FILE or gidfile=FILE")
    if ownership.id_mapping is not IdMapping.FILE and (ownership.uid_file or ownership.gid_file):
        name = "uidfile" if ownership.uid_file else "gidfile"
        raise usage_error(f"option {name} needs idmap=file")
    if config.transport.password_stdin and config.transport.kind is TransportKind.PASSIVE:
        raise usage_error("options password_stdin and passive exclude each other: both use standard input")
    fault = user_fault(endpoint.user or "")
    if fault:
        raise usage_error(f"option User: {endpoint.user!r}: {fault}")
