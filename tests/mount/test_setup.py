"""``contrib/setup`` installs servers for the tests; the machine goes on starting what it started before."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.harness.machine import Machine

POLICY = "/usr/sbin/policy-rc.d"

APT = f"""#!/bin/sh
case " $* " in *" update "*) exit 0;; esac
test -x {POLICY} && {POLICY} ; echo "policy $?" >>/mnt/told
[ -z "$ENDS_BY" ] || kill -"$ENDS_BY" "$PPID"
exit 100
"""

SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >>/mnt/told
"""


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as made:
        made.outside("/mnt/.links/policy-rc.d").unlink(missing_ok=True)  # a link to what this machine has
        made.write("/mnt/stub/apt-get", APT, 0o755)
        made.write("/mnt/stub/systemctl", SYSTEMCTL, 0o755)
        made.write("/mnt/stub/dpkg-query", "#!/bin/sh\nexit 1\n", 0o755)
        yield made


@pytest.mark.parametrize(
    ("ends_by", "status"), [("INT", 130), ("TERM", 143), ("HUP", 129), ("KILL", -9), ("", 100)]
)
def test_however_it_ends_services_start_as_before(machine: Machine, ends_by: str, status: int) -> None:
    def setup(ends_by: str) -> int:
        machine.environment = {
            **os.environ,
            "PATH": f"/mnt/stub:{os.environ['PATH']}",
            "ENDS_BY": ends_by,
        }
        return machine.run("bash", "/mnt/.repository/contrib/setup", "test")[0]

    policy = machine.outside("/mnt/.links/policy-rc.d")
    assert setup(ends_by) == status
    if ends_by == "KILL":  # nobody can do anything then, but the next run does
        assert policy.exists()
        assert setup("") == 100
    assert not policy.exists()
    told = machine.outside("/mnt/told").read_text().splitlines()
    assert told[0] == "policy 101", "nothing is started while packages are installed"
    for unit in ("ssh.service", "ssh.socket", "proftpd.service"):
        assert f"systemctl --quiet disable {unit}" in told


def test_a_policy_of_the_machines_own_stays(machine: Machine) -> None:
    machine.write("/mnt/.links/policy-rc.d", "#!/bin/sh\nexit 104\n", 0o755)
    machine.environment = {**os.environ, "PATH": f"/mnt/stub:{os.environ['PATH']}", "ENDS_BY": ""}
    assert machine.run("bash", "/mnt/.repository/contrib/setup", "test")[0] == 100
    assert machine.outside("/mnt/.links/policy-rc.d").read_text() == "#!/bin/sh\nexit 104\n"
    assert machine.outside("/mnt/told").read_text().splitlines()[0] == "policy 104"
