"""The option table agrees with the configuration, the help and the README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sftpfs.cli.docs.files import files
from sftpfs.cli.docs.help import EXIT_STATUSES, help_text
from sftpfs.cli.options.row import Option, Section
from sftpfs.cli.options.rows_connection import TRANSPORT_KINDS
from sftpfs.cli.options.ssh_keywords import SSH_KEYWORDS
from sftpfs.cli.options.table import BY_NAME, OPTIONS
from sftpfs.config import Endpoint, MountConfig
from sftpfs.errors import Failure
from sftpfs.host.daemon import exit_status

ROOT = Path(__file__).resolve().parents[3]
DEFAULTS = MountConfig(Endpoint("host"), "/mnt")


def field(dotted: str) -> Any:
    value: Any = DEFAULTS
    for name in dotted.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.fields], ids=lambda o: o.label)
def test_fields_exist_and_defaults_are_told_truly(option: Option) -> None:
    for dotted in option.fields:
        default = field(dotted)
        if option.default:
            assert option.parse is not None
            assert option.parse(option.default) == default
        elif option.takes_value:
            assert default in (None, ()), f"{option.name}: the default {default!r} is not told"


def test_no_name_is_there_twice() -> None:
    names = [name for option in OPTIONS if option.name for name in (option.name, *option.aliases)]
    flags = [flag for option in OPTIONS for flag in option.flags]
    assert len(names) == len(set(names))
    assert len(flags) == len(set(flags))
    assert set(TRANSPORT_KINDS) <= set(names)


def test_only_known_words_are_also_ssh_keywords() -> None:
    shared = {name for name in BY_NAME if name.lower() in SSH_KEYWORDS}
    assert shared == {"port", "user"}


def test_every_option_is_in_the_help_and_says_something() -> None:
    text = help_text()
    for option in OPTIONS:
        assert option.help
        assert (option.name or option.flags[0]) in text
        if option.section in (Section.MOOT, Section.FSTAB, Section.REFUSED):
            assert option.why
    assert max(map(len, text.splitlines())) <= 90


def test_every_failure_has_a_status_of_its_own_and_it_is_told() -> None:
    statuses = {failure: exit_status(failure) for failure in Failure}
    assert len(set(statuses.values())) == len(statuses)
    assert 0 not in statuses.values()
    assert set(statuses.values()) <= set(EXIT_STATUSES)


def test_what_is_made_from_the_tables_is_current() -> None:
    stale = [str(path) for path, text in files(ROOT).items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run contrib/generate"
