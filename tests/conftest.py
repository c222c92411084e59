"""Fixtures for every test: a time limit, nothing left behind, a real server, real mounts.

Parts of the test tree that need no server pay for none: ``sshd`` and the mounts are
made on demand.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.harness import mounts, processes
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Flavour, LocalDirectory, Mount, sftpfs_command, sshfs_command
from tests.harness.time_limit import time_limit
from tests.harness.waiting import STEP
from tests.sshd import Sshd

DEFAULT_LIMIT = 240.0
"""Seconds for one test on a busy machine, its fixtures included; ``@pytest.mark.limit(n)`` for another."""

ENDING = 30.0
"""Seconds a process gets to end by itself once its test is over."""

processes.mark_run()

for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        # Of a run in the background: what tests start would ignore it as well, and must not.
        signal.signal(number, lambda number, frame: None)

settings.register_profile(
    "sftpfs", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # how long one example took tells how busy the machine is
settings.load_profile("sftpfs")

MakeMount = Callable[..., Mount]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--flavour``: the mount suites on sshfs or a local directory, to check the tests themselves."""
    parser.addoption("--flavour", choices=("sftpfs", "sshfs", "local"), default="sftpfs")


def pytest_configure(config: pytest.Config) -> None:
    """Register our mark and our plugin."""
    config.pluginmanager.register(WiderFixtures())
    config.addinivalue_line("markers", "limit(seconds): this test's time limit")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Bound each test with its set-up and tear-down."""
    mark = item.get_closest_marker("limit")
    with time_limit(mark.args[0] if mark else DEFAULT_LIMIT):
        return (yield)


_allowed: set[int] = set()
"""Processes started by fixtures that outlive a test (sshd, module mounts)."""


class WiderFixtures:
    """Notes what fixtures that outlive a test start: it is no test's to end.

    A plugin of its own, for the hooks of a conftest below the root are not called for session fixtures.
    """

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Iterator[None]:
        """Compare before and after."""
        if fixturedef.scope == "function":
            return (yield)
        before = set(processes.ours())
        value = yield
        _allowed.update(set(processes.ours()) - before)
        return value


def leftovers(before: set[int]) -> set[int]:
    """Live processes of this run that neither were there before nor belong to a living fixture.

    What those start (sshd's sessions) is excused while a mount lives, and left behind when none does.
    """
    table = processes.table()
    excused = _allowed | mounts.live.keys()
    if mounts.live:
        excused |= processes.descendants(excused, table)
    return set(processes.ours(table)) - before - excused


@pytest.fixture(autouse=True)
def nothing_left_behind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fail a test after which a mount, a process or an unexpected line in a mount's log remains.

    Only mounts below this run's own temporary directory are its business.
    """
    if request.path.is_relative_to(request.config.rootpath / "tests" / "unit"):
        yield
        return
    before = set(processes.ours())
    base = tmp_path_factory.getbasetemp()
    yield
    left = leftovers(before)
    end = time.monotonic() + ENDING
    while left and time.monotonic() < end:
        time.sleep(STEP)
        left = leftovers(before)
    new = {point for point in mounts.mountpoints() if Path(point).is_relative_to(base) and not _known(point)}
    for point in new:
        mounts.unmount_lazily(point)
    names = [processes.describe(pid) for pid in left]
    for pid in left:
        processes.kill_tree(pid)
    assert not new, f"mounts left behind: {sorted(new)}"
    assert not left, f"processes left behind: {names}"
    for mount in mounts.live.values():
        complaints = mount.complaints()
        assert not complaints, "logged:\n" + "\n".join(complaints)


def _known(point: str) -> bool:
    return any(str(mount.path) == point for mount in mounts.live.values())


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What mounts of this run cannot write they save here, not among what the machine keeps."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for all tests that only need a server."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


def escaped(value: str) -> str:
    """A value for a comma separated ``-o`` list."""
    return value.replace("\\", "\\\\").replace(",", "\\,")


def server_options(sshd: Sshd) -> list[str]:
    """``-o`` options with which a mount gets into ``sshd``."""
    options = [f"{name}={escaped(value)}" for name, value in sshd.ssh_options() if name != "User"]
    return [f"port={sshd.port}", *options]


@pytest.fixture(scope="session")
def flavour(pytestconfig: pytest.Config) -> Flavour:
    """Which program mounts."""
    return sshfs_command if pytestconfig.getoption("--flavour") == "sshfs" else sftpfs_command


def _maker(sshd: Sshd, flavour: Flavour, directory: Path, made: list[Mount]) -> MakeMount:
    def make(
        *options: str,
        backing: Path | None = None,
        port: int | None = None,
        server: Sshd = sshd,
        environment: dict[str, str] | None = None,
    ) -> Mount:
        number = len(made)
        if backing is None:
            backing = directory / f"server{number}"
            backing.mkdir(exist_ok=True)
        where = [f"directport={port}"] if port else server_options(server)
        mount = Mount(
            f"127.0.0.1:{backing}" if port else f"{server.user}@127.0.0.1:{backing}",
            directory / f"mount{number}",
            backing,
            [*where, *options],
            flavour=flavour,
            environment=environment,
        )
        made.append(mount)
        return mount

    return make


def _close_all(made: list[Mount]) -> None:
    problems = []
    for mount in reversed(made):
        try:
            mount.close()
        except Exception as problem:
            problems.append(problem)
    if problems:
        raise problems[0]


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    """A server directory to fill before it is mounted: what a mount has listed it may lease."""
    directory = tmp_path / "backing"
    directory.mkdir()
    return directory


@pytest.fixture
def make_mount(
    sshd: Sshd, flavour: Flavour, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[MakeMount]:
    """``make_mount("option=value", …)``: fresh mounts of this test, with any options.

    ``backing`` is an existing directory to mount; ``server`` another sshd; ``port`` mounts by ``directport``
    instead of over ssh.
    """
    if "counting_proxy" in request.fixturenames:
        request.getfixturevalue("counting_proxy")  # first, so that it outlives the mounts
    made: list[Mount] = []
    yield _maker(sshd, flavour, tmp_path, made)
    _close_all(made)


PLACES = 150
"""Directories made ready for the tests of one module."""


@pytest.fixture(scope="module")
def make_module_mount(
    sshd: Sshd, flavour: Flavour, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeMount]:
    """As ``make_mount``, for mounts that all tests of a module share."""
    made: list[Mount] = []
    yield _maker(sshd, flavour, tmp_path_factory.mktemp("mounts"), made)
    _close_all(made)


@pytest.fixture(scope="module")
def module_mount(
    sshd: Sshd, flavour: Flavour, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Mount | LocalDirectory]:
    """One mount for a test module.

    Absence is not believed: tests make names on the server's side, and listings made ahead
    of one test may be of the next one's place. ``test_coherence`` tests the leases.
    """
    made: list[Mount] = []
    directory = tmp_path_factory.mktemp("mounted")
    backing = directory / "backing"
    for number in range(PLACES):
        (backing / place_name(number)).mkdir(parents=True)
    if request.config.getoption("--flavour") == "local":
        yield LocalDirectory(backing)
        return
    yield _maker(sshd, flavour, directory, made)("negative_timeout=0", backing=backing)
    _close_all(made)
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def place_names() -> Iterator[str]:
    """The places not used yet."""
    return iter([place_name(number) for number in range(PLACES)])


def place_name(number: int) -> str:
    """Each in directories of its own: who uses one and then the next is no walk to be kept ahead of."""
    return f"room{number:03}/corner/place"


class Place:
    """A directory of one test: ``here`` as mounted, ``there`` as the server has it."""

    def __init__(self, mount: Mount | LocalDirectory, name: str) -> None:
        self.mount = mount
        self.here = mount.path / name
        self.there = mount.backing / name


@pytest.fixture
def place(module_mount: Mount | LocalDirectory, place_names: Iterator[str]) -> Place:
    """An empty directory of its own on the module's mount.

    It was there before the mount: what a test makes on the server before it first looks
    through the mount is seen, whatever is leased.
    """
    return Place(module_mount, next(place_names))


@pytest.fixture
def counting_proxy() -> Iterator[CountingProxy]:
    """A counting SFTP server for this test."""
    with CountingProxy() as proxy:
        yield proxy


@pytest.fixture
def proxy() -> Iterator[CountingProxy]:
    """A server to be cut off, without delay."""
    with CountingProxy(latency=0.0) as running:
        yield running
