"""``sftpfs doctor`` and ``sftpfs bench`` against servers with one thing wrong each: the verdict names it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import server_options
from tests.harness.command import COMMAND, LIMIT, Terminal, ended, environment, started
from tests.harness.mounts import REPOSITORY, mountpoints
from tests.harness.waiting import eventually
from tests.sshd import SFTP_SERVER, Sshd, free_port, generate_key


def run(*words: str) -> tuple[int, str]:
    """(status, all it said, on one line)."""
    done = subprocess.run(
        [*COMMAND, *words],
        env=environment(),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        start_new_session=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, " ".join(done.stdout.split())


def doctor(server: Sshd, directory: object = "", *more: str) -> tuple[int, str]:
    options = ",".join([*server_options(server), *more])
    return run("doctor", f"root@127.0.0.1:{directory}", "-o", options)


def test_this_machine_alone() -> None:
    status, said = run("doctor")
    assert status == 0
    assert "ok /dev/fuse can be opened" in said


def test_a_good_server(sshd: Sshd, backing: Path) -> None:
    status, said = doctor(sshd, backing)
    assert status == 0 and "FAIL" not in said
    for part in (
        "ok logged in as root@127.0.0.1",
        "by publickey, server SSH-2.0-OpenSSH",
        "; the server offers publickey",
        "ok the host key is the one known",
        "ok the server offers every extension",
        "one request reads up to 261120 bytes",
        "ok a round trip takes",
        "MB/s over one connection",
        "ok files can be made, written, read and removed there",
    ):
        assert part in said
    assert list(backing.iterdir()) == []


def test_nobody_listens() -> None:
    status, said = run("doctor", "root@127.0.0.1:", "-p", str(free_port()))
    assert status == 3
    assert "FAIL 127.0.0.1 port" in said and "refused the connection" in said


def test_a_wrong_key(sshd: Sshd, tmp_path: Path) -> None:
    key = generate_key(tmp_path / "other")
    options = ",".join(o for o in server_options(sshd) if not o.startswith("IdentityFile="))
    status, said = run("doctor", "root@127.0.0.1:", "-o", f"{options},IdentityFile={key}")
    assert status == 8
    assert "FAIL root@127.0.0.1" in said and "refuses to let us in (methods tried: publickey)" in said


def test_a_method_not_tried(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "other")
    with Sshd(tmp_path / "sshd", config_extra="PasswordAuthentication yes") as server:
        options = [o for o in server_options(server) if not o.startswith("IdentityFile=")]
        options += [f"IdentityFile={key}", "PasswordAuthentication=no"]
        status, said = run("doctor", "root@127.0.0.1:", "-o", ",".join(options))
    assert status == 8
    assert "refuses to let us in (methods tried: publickey; offered too: password)" in said


def test_a_changed_host_key(sshd: Sshd, tmp_path: Path) -> None:
    other = generate_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {other[0]} {other[1]}\n")
    options = ",".join(o for o in server_options(sshd) if not o.startswith("UserKnownHostsFile="))
    status, said = run("doctor", "root@127.0.0.1:", "-o", f"{options},UserKnownHostsFile={known}")
    assert status == 7
    assert "FAIL" in said and "changed" in said and str(known) in said


def test_an_unknown_host_key(sshd: Sshd) -> None:
    options = ",".join(o for o in server_options(sshd) if not o.startswith("UserKnownHostsFile="))
    status, said = run("doctor", "root@127.0.0.1:", "-o", f"{options},UserKnownHostsFile=/dev/null")
    assert status == 6
    assert "FAIL" in said and "SHA256:" in said


def test_no_sftp(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", subsystem=None) as server:
        status, said = doctor(server)
    assert status == 9
    assert "FAIL" in said and "offers no SFTP subsystem" in said and "Subsystem sftp internal-sftp" in said


@pytest.fixture
def cage() -> Iterator[Path]:
    """A directory sshd accepts for ChrootDirectory: nobody but root may write to its parents."""
    made = Path(tempfile.mkdtemp(dir="/run", prefix="sftpfs-test-"))
    made.chmod(0o755)
    (made / "inside").mkdir()
    yield made
    shutil.rmtree(made)


def test_a_confined_account(tmp_path: Path, cage: Path) -> None:
    extra = f"ChrootDirectory {cage}\nForceCommand internal-sftp"
    with Sshd(tmp_path / "sshd", config_extra=extra, subsystem="internal-sftp") as server:
        status, said = doctor(server, "/inside")
    assert status == 0
    assert "note the account starts in /, and /inside is the directory: it may be confined (chroot)" in said
    assert "ok files can be made, written, read and removed there" in said
    assert list((cage / "inside").iterdir()) == []


def test_a_read_only_account(tmp_path: Path, backing: Path) -> None:
    with Sshd(tmp_path / "sshd", subsystem=f"{SFTP_SERVER} -R") as server:
        status, said = doctor(server, backing)
    assert status == 0
    assert "note the account is read-only" in said and "mount with -o ro" in said


def test_a_denied_request(tmp_path: Path, backing: Path) -> None:
    with Sshd(tmp_path / "sshd", subsystem=f"{SFTP_SERVER} -P write") as server:
        status, said = doctor(server, backing)
    assert status == 0
    assert "note files can be made there, but not written or read" in said
    assert list(backing.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "part"),
    [("gone", "FAIL the directory"), ("file", "is not a directory")],
)
def test_a_wrong_directory(sshd: Sshd, backing: Path, name: str, part: str) -> None:
    (backing / "file").touch()
    status, said = doctor(sshd, backing / name)
    assert status == 10
    assert part in said


def test_bench_measures_and_cleans_up(sshd: Sshd, backing: Path) -> None:
    options = ",".join(server_options(sshd))
    status, said = run("bench", f"root@127.0.0.1:{backing}", "--size", "4", "-o", options)
    assert status == 0, said
    for part in ("write 4 MiB", "read 4 MiB", "create 50 files", "read 50 files", "stat 50"):
        assert part in said
    assert list(backing.iterdir()) == []


def test_what_a_host_key_is_worth(sshd: Sshd, backing: Path, tmp_path: Path) -> None:
    """Only a key that was known is told to be."""
    options = [o for o in server_options(sshd) if "KnownHosts" not in o and "StrictHost" not in o]
    for strict in ("no", "off", "accept-new"):
        given = [*options, "UserKnownHostsFile=/dev/null", f"StrictHostKeyChecking={strict}"]
        status, said = run("doctor", f"root@127.0.0.1:{backing}", "-o", ",".join(given))
        assert status == 0
        assert "the one known" not in said
        assert "note nobody checks who this server is" in said
    given = [*options, f"UserKnownHostsFile={tmp_path}/known", "StrictHostKeyChecking=accept-new"]
    for _ in range(2):  # the first look does not make it known
        said = run("doctor", f"root@127.0.0.1:{backing}", "-o", ",".join(given))[1]
        assert "note nobody checks" in said
        assert "the one known" not in said
    assert not (tmp_path / "known").exists()
    given = [*options, f"UserKnownHostsFile={tmp_path}/asked", "StrictHostKeyChecking=ask"]
    with Terminal("doctor", f"root@127.0.0.1:{backing}", "-o", ",".join(given)) as terminal:
        terminal.wait_for("(yes/no")
        terminal.type("yes\n")
        assert terminal.finish() == 0
    assert "the host key is the one you accepted" in terminal.output
    given = [*options, f"UserKnownHostsFile={tmp_path}/asked", "StrictHostKeyChecking=accept-new"]
    said = run("doctor", f"root@127.0.0.1:{backing}", "-o", ",".join(given))[1]
    assert "ok the host key is the one known" in said


@pytest.fixture
def temporary(tmp_path: Path) -> dict[str, str]:
    """The environment of a command whose mounts are in a directory of the test's."""
    (tmp_path / "temporary").mkdir()
    return environment(TMPDIR=str(tmp_path / "temporary"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("moment", ["at once", "mounting", "writing", "reading"])
def test_bench_that_is_ended_cleans_up(
    number: signal.Signals, moment: str, sshd: Sshd, backing: Path, temporary: dict[str, str]
) -> None:
    """Also where signals go on while it does, and somebody is in its mount."""
    place = Path(temporary["TMPDIR"])
    words = ("bench", f"root@127.0.0.1:{backing}", "--size=512", "-o", ",".join(server_options(sshd)))
    process = started(*words, env=temporary)
    if moment == "mounting":
        eventually(lambda: list(place.iterdir()), 30, "a mountpoint")
    elif moment == "writing":
        eventually(lambda: list(backing.glob("*/big")), 60, "the file")
        inside = os.open(next(place.iterdir()), os.O_RDONLY)
    elif moment == "reading":
        eventually(lambda: list(backing.glob("*/small049")), 60, "the last file")
    else:
        eventually(lambda: handles(process.pid), 30, "the handler")
    eventually(lambda: process.poll() is not None or process.send_signal(number), 60, "its end")
    assert ended(process).status == 130
    if moment == "writing":
        os.close(inside)
    assert list(backing.iterdir()) == list(place.iterdir()) == []
    assert not [point for point in mountpoints() if point.startswith(str(place))]


def handles(pid: int) -> bool:
    """The process has a handler for SIGTERM."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigCgt" in line)
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_doctor_that_is_ended_cleans_up(number: signal.Signals, sshd: Sshd, backing: Path) -> None:
    process = started("doctor", f"root@127.0.0.1:{backing}", "-o", ",".join(server_options(sshd)))
    eventually(lambda: list(backing.iterdir()), 60, "its file")
    eventually(lambda: process.poll() is not None or process.send_signal(number), 60, "its end")
    assert ended(process).status == 130
    assert list(backing.iterdir()) == []


def test_bench_asks_for_a_passphrase_once(sshd: Sshd, backing: Path, tmp_path: Path) -> None:
    key = generate_key(tmp_path / "locked", passphrase="open sesame")
    sshd.authorize(Path(f"{key}.pub"))
    options = ",".join(o for o in server_options(sshd) if not o.startswith("IdentityFile="))
    words = ["bench", f"root@127.0.0.1:{backing}", "--size", "1", "-o", f"{options},IdentityFile={key}"]
    with Terminal(*words) as terminal:
        terminal.wait_for("Enter passphrase for key")
        terminal.type("open sesame\n")
        assert terminal.finish() == 0, terminal.output
    assert terminal.output.count("Enter passphrase") == 1
    assert "remove all of it" in terminal.output
    assert "open sesame" not in terminal.output
    assert list(backing.iterdir()) == []


def tried(server: Sshd, directory: Path) -> str:
    """What ``doctor --try`` says; nothing is left in ``directory``."""
    options = ",".join(server_options(server))
    status, said = run("doctor", "--try", f"root@127.0.0.1:{directory}", "-o", options)
    assert status == 0 and "FAIL" not in said
    assert not list(directory.iterdir())
    return said


def test_openssh_is_tried_out(sshd: Sshd, backing: Path) -> None:
    assert "ok it does all that a mount relies on as OpenSSH does" in tried(sshd, backing)


@pytest.mark.parametrize(
    ("denied", "parts"),
    [
        ("setstat", ["does not set permissions", "does not set times", "does not set sizes", "chmod fails"]),
        ("fsetstat,fstat", ["does not set attributes of an open file", "does not report attributes of an"]),
        ("stat", ["does not report attributes of what a link leads to", "links are shown as links"]),
    ],
)
def test_what_a_server_does_not_do_is_found(
    tmp_path: Path, backing: Path, denied: str, parts: list[str]
) -> None:
    with Sshd(tmp_path / "sshd", subsystem=f"{SFTP_SERVER} -P {denied}") as server:
        said = tried(server, backing)
        for part in parts:
            assert part in said
        assert "relies on" not in said
