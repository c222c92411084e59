"""The fstab and systemd examples say what this program and systemd understand."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from sftpfs.cli.options.parse import explain, parse_arguments
from sftpfs.cli.options.to_config import build_config
from sftpfs.config import MountConfig

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
UNITS = sorted((CONTRIB / "systemd").iterdir())
MOUNT_UNITS = [path for path in UNITS if path.name != "sftpfs@.service"]


def understood(spec: str, mountpoint: str, options: str) -> MountConfig:
    # the examples' local user is not on every machine
    options = options.replace("uid=joe,gid=joe", "uid=root,gid=root")
    arguments = parse_arguments([spec, mountpoint, "-o", options])
    assert explain(arguments) is not None
    return build_config(arguments)


def fstab_lines() -> list[list[str]]:
    lines = (CONTRIB / "fstab.example").read_text().splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("fields", fstab_lines(), ids=lambda fields: fields[1])
def test_fstab_lines(fields: list[str]) -> None:
    assert len(fields) == 6
    assert fields[2] in ("sftpfs", "fuse.sftpfs")
    assert "_netdev" in fields[3].split(",")
    config = understood(fields[0], fields[1], fields[3])
    assert config.transport.ssh_options


def test_mount_unit_and_its_automount() -> None:
    parsers = {}
    for path in MOUNT_UNITS:
        parsers[path.suffix] = configparser.ConfigParser(interpolation=None)
        parsers[path.suffix].read(path)
    mount, automount = parsers[".mount"]["Mount"], parsers[".automount"]["Automount"]
    assert mount["Where"] == automount["Where"]
    assert {path.stem for path in MOUNT_UNITS} == {mount["Where"].strip("/").replace("/", "-")}
    assert mount["Type"] == "fuse.sftpfs"
    assert understood(mount["What"], mount["Where"], mount["Options"]).fuse.allow_other


def test_autofs_map() -> None:
    lines = (CONTRIB / "autofs" / "auto.sftpfs").read_text().splitlines()
    (line,) = [line for line in lines if line and not line.startswith("#")]
    key, options, location = line.split()
    words = options.removeprefix("-").split(",")
    assert key == "data" and words.pop(0) == "fstype=fuse.sftpfs"
    # autofs takes the leading colon away, and the backslash
    spec = location.removeprefix(":").replace("\\:", ":")
    assert understood(spec, "/net/sftp/data", ",".join(words)).endpoint.host == "files.example.org"


def test_service_unit() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(CONTRIB / "systemd" / "sftpfs@.service")
    service = parser["Service"]
    assert service["Type"] == "notify" and int(service["WatchdogSec"]) > 20
    program, *words = service["ExecStart"].split()
    lines = (CONTRIB / "systemd" / "sftpfs@.service").read_text().splitlines()
    file = dict(line[1:].strip().split("=", 1) for line in lines if line.startswith("#   "))
    for name, value in file.items():
        words = [word.replace(f"${{{name}}}", value) for word in words]
    assert program == "sftpfs"
    assert build_config(parse_arguments(words)).foreground


def test_systemd_accepts_the_units() -> None:
    program = shutil.which("systemd-analyze") or "true"
    units = [str(path) for path in UNITS]
    words = [program, "verify", "--man=no", *units]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if "mnt-data" in line or "sftpfs@" in line]
    assert not [line for line in complaints if "Command sftpfs is not executable" not in line]


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["tests/no_such.py"], "tests/no_such.py"),
        (["contrib/test", "tests/no_such.py::test_it"], "tests/no_such.py"),
        (["no_such"], "no_such"),
        (["-x", "no_such"], "no_such"),
        (["-k", "no_such"], ""),
        (["--maxfail=1", "contrib/test::test_it"], ""),
    ],
)
def test_contrib_test_names_what_is_not_there(tmp_path: Path, words: list[str], missing: str) -> None:
    """Before it sets anything up, which ends with 3 here."""
    place = tmp_path / "contrib"
    place.mkdir()
    shutil.copy(CONTRIB / "test", place)
    (place / "setup").write_text("#!/bin/sh\nexit 3\n")
    (place / "setup").chmod(0o755)
    done = subprocess.run([place / "test", *words], capture_output=True, text=True, timeout=20, check=False)
    if missing:
        assert (done.returncode, done.stderr) == (4, f"test: there is no {missing} in this checkout\n")
    else:
        assert (done.returncode, done.stderr) == (3, "")
