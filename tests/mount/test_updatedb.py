"""What ``sftpfs install-helpers`` tells updatedb of plocate and mlocate."""

from __future__ import annotations

from tests.harness.machine import Machine


def test_updatedb_walks_no_mount_of_ours() -> None:
    """plocate's and mlocate's list of types gets ours, and loses it as the helpers go."""
    with Machine() as machine:
        lines = 'PRUNEPATHS="/tmp"\nPRUNEFS="nfs fuse.sshfs{}"\n'
        machine.write("/etc/updatedb.conf", lines.format(""))
        status, output, _ = machine.run("/mnt/bin/sftpfs", "install-helpers")
        assert status == 0 and "added fuse.sftpfs to PRUNEFS in /etc/updatedb.conf" in output
        assert machine.outside("/etc/updatedb.conf").read_text() == lines.format(" fuse.sftpfs")
        assert machine.run("/mnt/bin/sftpfs", "install-helpers") == (0, "", ""), "there is nothing to do"
        status, output, _ = machine.run("/mnt/bin/sftpfs", "install-helpers", "--remove")
        assert status == 0 and "took fuse.sftpfs out of PRUNEFS in /etc/updatedb.conf" in output
        assert machine.outside("/etc/updatedb.conf").read_text() == lines.format("")
