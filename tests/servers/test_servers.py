"""The core over the servers that ``contrib/setup test`` brings; all others by ``python -m tests.servers``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.judging import Verdict
from tests.servers.known import KNOWN
from tests.servers.packages import Store
from tests.servers.place import Account
from tests.servers.table import details
from tests.servers.trial import NAMES, Trial, local_accounts
from tests.servers.zoo import SERVERS

HERE = ("openssh", "openssh-P-extensions", "dropbear", "proftpd", "asyncssh", "gesftpserver")

SLOW = {"see_what_the_server_made", "read_what_the_server_replaced", "read_what_the_server_appended"}
"""Checks that wait for what only time brings; for the command."""

CHECKS = [name for name in NAMES if name not in SLOW]

RIGHT = (Verdict.OK, Verdict.EXCUSED)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Account]:
    """What a local directory does."""
    return local_accounts(tmp_path_factory.mktemp("local"), CHECKS)


@pytest.mark.limit(300)
@pytest.mark.parametrize("name", HERE)
def test_a_server_is_as_a_directory(name: str, local: dict[str, Account], tmp_path: Path) -> None:
    """But for what its traits excuse and what is known."""
    known = KNOWN.get(name, set())
    store = Store(tmp_path / "packages")
    assert SERVERS[name].there(store), "contrib/setup test installs it"
    found = dict(Trial(SERVERS[name], "sftpfs", tmp_path / name, store).run(CHECKS, local))
    failed = {check: outcome for check, outcome in found.items() if outcome.verdict not in RIGHT}
    new = {check: outcome for check, outcome in failed.items() if check not in known}
    assert not new, f"{name}:\n" + "\n".join(details(new))
    assert failed.keys() == known, f"mended, so to be taken out of KNOWN: {sorted(known - failed.keys())}"


def test_the_table_of_the_known_names_what_there_is() -> None:
    assert KNOWN.keys() <= set(HERE)
    assert all(checks <= set(CHECKS) for checks in KNOWN.values())
