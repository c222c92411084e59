"""Command and fstab lines of sshfs's manual and of common tutorials, with the one word changed: all mount.

Left out, for they need what a test has not got: a mount of a bare TCP port or vsock, a password on standard
input and ``slave`` (these are in test_transport_streams and test_transport_login), ``sudo`` on the server, and
macFUSE. The old form ``sshfs#host:dir`` is in test_command_fstab.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command import COMMAND, LIMIT, assert_gone, environment, family_of
from tests.harness.machine import Machine, identity
from tests.harness.mounts import mountpoints, unmount_lazily
from tests.sshd import Sshd

# ruff: noqa: E501
LINES = r"""
sshfs root@host:$D $M
sshfs host:$D $M
sshfs root@host: $M
sshfs root@host:~/ $M
sshfs -o ro host:$D $M
sshfs -p $P root@127.0.0.1:$D $M
sshfs -oport=$P root@127.0.0.1:$D $M
sshfs -o allow_other,default_permissions root@host:$D $M
sshfs -o allow_other,defer_permissions,IdentityFile=~/.ssh/id_ed25519 root@host:$D $M
sshfs -o reconnect,ServerAliveInterval=15,ServerAliveCountMax=3 root@host:$D $M
sshfs host:$D $M -C -o Ciphers=aes128-ctr
sshfs host:$D $M -o idmap=user -o uid=$(id -u),gid=$(id -g)
sshfs host:$D $M -o idmap=file,uidfile=$HOME/uids,gidfile=$HOME/gids,nomap=ignore
sshfs host:$D $M -o follow_symlinks -o transform_symlinks
sshfs host:$D $M -o workaround=rename:nodelaysrv,no_readahead
sshfs host:$D $M -o kernel_cache,compression=no,large_read,cipher=blowfish
sshfs -o auto_cache,cache_timeout=115200,attr_timeout=3600,entry_timeout=1200,max_readahead=90000,big_writes,no_remote_lock host:$D $M
sshfs host:$D $M -o umask=022,nosuid,nodev,noatime
sshfs host:$D $M -o ssh_command="ssh -F $HOME/.ssh/config"
sshfs host:$D $M -o ssh_command="ssh -F $HOME/.ssh/config jump ssh -F $HOME/.ssh/config"
sshfs host:$D $M -o ProxyJump=jump
sshfs host:$D $M -o ProxyCommand="ssh -F $HOME/.ssh/config -W %h:%p jump"
sshfs -F $HOME/.ssh/config host:$D $M
sshfs host:$D $M -o sftp_server=/usr/lib/openssh/sftp-server
sshfs host:$D $M -o sftp_server="/usr/bin/env /usr/lib/openssh/sftp-server"
sshfs -s host:$D $M -o max_conns=4,nonempty
sshfs host:$D $M -o dcache_timeout=60,dcache_max_size=20000,dcache_clean_interval=60,dcache_min_clean_interval=5
sshfs host:$D $M -o direct_io,sshfs_sync,sync_readdir,no_check_root,disable_hardlink
sshfs host:$D $M -o StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null -o fsname="a\,b",subtype=work
"""

FSTAB = """
{spec} {path} fuse.sshfs noauto,x-systemd.automount,_netdev,users,idmap=user,{options},allow_other,reconnect 0 0
{spec} {path} fuse.sshfs delay_connect,_netdev,user,transform_symlinks,{options},allow_other,default_permissions,uid=0 0 0
{spec} {path} fuse.sshfs noauto,x-systemd.automount,_netdev,user,follow_symlinks,{options},reconnect 0 0
{spec} {path} fuse.sshfs defaults,allow_other,_netdev,ServerAliveInterval=45,ServerAliveCountMax=2,reconnect,noatime,{options} 0 0
"""


class Home:
    """A home directory whose .ssh/config leads ``host`` and ``jump`` to the test's server."""

    def __init__(self, sshd: Sshd, directory: Path) -> None:
        self.path = directory / "home"
        self.backing = directory / "server"
        self.mountpoint = directory / "mnt"
        self.backing.mkdir()
        self.mountpoint.mkdir()
        (self.path / ".ssh").mkdir(parents=True)
        (self.backing / "hello").write_text("hello\n")
        key = self.path / ".ssh" / "id_ed25519"
        key.write_bytes(sshd.client_key.read_bytes())
        key.chmod(0o600)
        keywords = "\n".join(f"  {name} {value}" for name, value in sshd.ssh_options())
        config = f"Host host jump 127.0.0.1\n  HostName 127.0.0.1\n  Port {sshd.port}\n{keywords}\n"
        (self.path / ".ssh" / "config").write_text(config)
        for name in ("uids", "gids"):
            (self.path / name).write_text("root:0\n")
        self.environment = environment(
            HOME=str(self.path), D=str(self.backing), M=str(self.mountpoint), P=str(sshd.port)
        )


@pytest.fixture
def home(sshd: Sshd, tmp_path: Path) -> Iterator[Home]:
    made = Home(sshd, tmp_path)
    yield made
    if str(made.mountpoint) in mountpoints():
        unmount_lazily(str(made.mountpoint))


@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_command_lines(home: Home, line: str) -> None:
    # what stands in ~/.ssh/config for the person; ~ is whose home the user database says, not the test's
    command = [*COMMAND, "-F", str(home.path / ".ssh" / "config")]
    words = line.replace("sshfs", shlex.join(command), 1)
    done = subprocess.run(
        ["sh", "-c", words],
        env=home.environment,
        cwd=home.path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    family = family_of(home.mountpoint)
    in_directory = "$D" in line
    if in_directory:
        assert (home.mountpoint / "hello").read_text() == "hello\n"
    else:
        assert os.listdir(home.mountpoint)
    if in_directory and "-o ro " not in line:
        (home.mountpoint / "new").write_text("new\n")
        assert (home.backing / "new").read_text() == "new\n"
    done = subprocess.run(["fusermount3", "-u", str(home.mountpoint)], capture_output=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    assert_gone(home.mountpoint, family)


@pytest.mark.parametrize("line", FSTAB.strip().splitlines())
def test_fstab_lines(sshd: Sshd, tmp_path: Path, line: str) -> None:
    (tmp_path / "hello").write_text("hello\n")
    with Machine() as machine:
        assert machine.run("/mnt/bin/sftpfs", "install-helpers")[0] == 0
        path = machine.directory("/mnt/a")
        options = f"port={sshd.port},{identity(machine, sshd.client_key, sshd.known_hosts)}"
        text = line.format(spec=f"root@127.0.0.1:{tmp_path}", path=path, options=options)
        machine.write("/mnt/fstab", text.replace("fuse.sshfs", "fuse.sftpfs") + "\n")
        assert machine.run("mount", path) == (0, "", "")
        assert machine.outside(f"{path}/hello").read_text() == "hello\n"
        machine.outside(f"{path}/new").write_text("new\n")
        assert machine.run("umount", path) == (0, "", "")
    assert (tmp_path / "new").read_text() == "new\n"
