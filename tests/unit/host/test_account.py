"""Home and login name are those of the uid, whatever the environment says."""

from __future__ import annotations

import os
import pwd

import pytest

from sftpfs.cli.options.value_parsers import path
from sftpfs.host.account import home_directory, in_home, login_name

OURS = pwd.getpwuid(os.getuid())


@pytest.fixture(autouse=True)
def anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``sudo -E`` leaves."""
    monkeypatch.setenv("HOME", "/home/another")
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "another")


def test_the_user_database_is_asked() -> None:
    assert (home_directory(), login_name()) == (OURS.pw_dir, OURS.pw_name)
    assert in_home("~") == OURS.pw_dir
    assert in_home("~/.ssh/config") == path("~/.ssh/config") == f"{OURS.pw_dir}/.ssh/config"
    assert in_home(f"~{OURS.pw_name}/x") == f"{OURS.pw_dir}/x"
    assert [in_home(name) for name in ("/a/~", "a", "")] == ["/a/~", "a", ""]


def test_a_user_it_does_not_know_has_the_home_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert (home_directory(), login_name()) == ("/home/another", str(os.getuid()))
    assert in_home("~/x") == "/home/another/x"
    for home in ("", "relative"):
        monkeypatch.setenv("HOME", home)
        assert (home_directory(), in_home("~/x")) == ("/", "/x")
