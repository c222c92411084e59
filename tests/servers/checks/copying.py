"""Programs that bring files to and from the mount: what arrives is what was sent, also times and modes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.harness.command import COMMAND
from tests.harness.mounts import REPOSITORY
from tests.servers.checks.names import tree
from tests.servers.checks.registry import check, content
from tests.servers.place import Place

TIME = 1_100_000_000


def make_tree(root: Path) -> Path:
    """Files of several sizes, modes and old times, below directories."""
    for name, size, bits in (
        ("a", 0, 0o644),
        ("sub/b", 5000, 0o600),
        ("sub/deep/c", 70_000, 0o755),
        ("d e", 300_001, 0o640),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(size, size))
        path.chmod(bits)
        os.utime(path, (TIME, TIME))
    (root / "empty").mkdir()
    for directory in (root / "sub/deep", root / "sub", root / "empty", root):
        os.utime(directory, (TIME, TIME))
    return root


def bring_tree(place: Place, name: str = "tree") -> Path:
    """A tree to be copied; its content is to arrive as ``name``, whatever is refused."""
    made = make_tree(place.scratch / "tree")
    for path in tree(made):
        if not path.endswith("/"):
            place.arrives(f"{name}/{path}", (made / path).read_bytes())
    return made


def make_link(link: Path) -> Path:
    """A symbolic link to nothing, with an old time."""
    os.symlink("target", link)
    os.utime(link, (TIME, TIME), follow_symlinks=False)
    return link


def saw_times_and_modes(place: Place, root: Path) -> None:
    """Of every file below ``root``."""
    times, modes = [], []
    for name in tree(root):
        status = os.lstat(root / name)
        if stat.S_ISREG(status.st_mode):
            times.append(f"{name} {int(status.st_mtime)}")
            modes.append(f"{name} {stat.S_IMODE(status.st_mode):o}")
    place.saw("times", times)
    place.saw("modes", modes)


@check
def cp_in(place: Place) -> None:
    (place.scratch / "file").write_bytes(content(1, 1_500_000))
    place.run("cp", place.scratch / "file", place.here / "file")
    place.run("cmp", place.scratch / "file", place.there / "file")


@check
def cp_out(place: Place) -> None:
    (place.there / "file").write_bytes(content(2, 1_500_000))
    place.run("cp", place.here / "file", place.scratch / "file")
    place.run("cmp", place.scratch / "file", place.there / "file")


@check
def cp_over_an_existing_file(place: Place) -> None:
    (place.scratch / "file").write_bytes(content(3, 50_000))
    (place.there / "file").write_bytes(content(4, 200_000))
    place.run("cp", place.scratch / "file", place.here / "file")
    place.run("cmp", place.scratch / "file", place.there / "file")


@check
def cp_within_the_mount(place: Place) -> None:
    (place.there / "one").write_bytes(content(5, 700_000))
    place.shell("cp one two; cmp one two")
    place.run("cmp", place.there / "one", place.there / "two")


@check
def cp_with_times(place: Place) -> None:
    for number in range(8):
        (place.scratch / f"f{number}").write_bytes(content(number, 20_000))
        place.arrives(f"f{number}", content(number, 20_000))
        os.chmod(place.scratch / f"f{number}", 0o640)
        os.utime(place.scratch / f"f{number}", (TIME, TIME))
        place.run("cp", "-p", place.scratch / f"f{number}", place.here)
    saw_times_and_modes(place, place.there)
    saw_times_and_modes(place, place.here)


@check
def cp_a_tree_in(place: Place) -> None:
    bring_tree(place)
    place.run("cp", "-a", place.scratch / "tree", place.here)
    place.run("diff", "-r", place.scratch / "tree", place.there / "tree")
    saw_times_and_modes(place, place.there)


@check
def cp_a_link_in(place: Place) -> None:
    place.run("cp", "-a", make_link(place.scratch / "link"), place.here)
    place.saw("on the server", os.readlink(place.there / "link"))


@check
def links_by_cp_rsync_and_tar_out(place: Place) -> None:
    make_link(place.there / "link")
    place.run("cp", "-a", place.here / "link", place.scratch / "one")
    place.run("rsync", "-a", place.here / "link", place.scratch / "two")
    place.run("tar", "cf", place.scratch / "link.tar", "link", at=place.here)
    place.run("tar", "xf", "link.tar")
    for name in ("one", "two", "link"):
        place.saw(name, (os.readlink(place.scratch / name), int(os.lstat(place.scratch / name).st_mtime)))


@check
def tar_x_a_link(place: Place) -> None:
    make_link(place.scratch / "link")
    place.run("tar", "cf", "link.tar", "link")
    place.run("tar", "xf", place.scratch / "link.tar", "-C", place.here)
    place.saw("on the server", os.readlink(place.there / "link"))


@check
def cp_a_tree_out(place: Place) -> None:
    make_tree(place.there / "tree")
    place.run("cp", "-a", place.here / "tree", place.scratch)
    place.run("diff", "-r", place.scratch / "tree", place.there / "tree")
    place.saw("names", tree(place.scratch))
    saw_times_and_modes(place, place.scratch)


@check
def cp_without_attributes(place: Place) -> None:
    bring_tree(place)
    place.run("cp", "-r", place.scratch / "tree", place.here)
    place.run("diff", "-r", place.scratch / "tree", place.there / "tree")


@check
def sftpfs_cp_a_tree_in(place: Place) -> None:
    """The mount makes what is new many at once, whatever the server keeps of times and modes."""
    bring_tree(place)
    place.run(*COMMAND, "cp", "-r", place.scratch / "tree", place.here, at=REPOSITORY)
    place.run("diff", "-r", place.scratch / "tree", place.there / "tree")
    place.run("diff", "-r", place.scratch / "tree", place.here / "tree")


@check
def rsync_in(place: Place) -> None:
    bring_tree(place)
    place.run("rsync", "-a", f"{place.scratch}/tree/", f"{place.here}/tree/")
    place.run("diff", "-r", place.scratch / "tree", place.there / "tree")
    saw_times_and_modes(place, place.there)


@check
def rsync_a_link_in(place: Place) -> None:
    place.run("rsync", "-a", make_link(place.scratch / "link"), place.here)
    place.saw("on the server", os.readlink(place.there / "link"))


@check
def rsync_again_finds_nothing_to_do(place: Place) -> None:
    make_tree(place.scratch / "tree")
    words = ["rsync", "-a", "--itemize-changes", f"{place.scratch}/tree/", f"{place.here}/tree/"]
    place.run(*words)
    place.saw("second time", place.run(*words))
    place.saw("names", tree(place.there))


@check
def rsync_out(place: Place) -> None:
    make_tree(place.there / "tree")
    place.run("rsync", "-a", f"{place.here}/tree/", f"{place.scratch}/tree/")
    place.run("diff", "-r", place.scratch / "tree", place.there / "tree")
    saw_times_and_modes(place, place.scratch)


@check
def rsync_without_times(place: Place) -> None:
    bring_tree(place)
    place.run("rsync", "-r", f"{place.scratch}/tree/", f"{place.here}/tree/")
    place.run("diff", "-r", place.scratch / "tree", place.there / "tree")


@check
def rsync_of_a_changed_file(place: Place) -> None:
    old, new = content(6, 300_000), content(6, 200_000) + content(7, 150_000)
    (place.there / "file").write_bytes(old)
    place.guard("file", old, new)
    place.arrives("file", new)
    (place.scratch / "file").write_bytes(new)
    place.run("rsync", "-a", "--no-whole-file", f"{place.scratch}/file", f"{place.here}/")
    place.run("cmp", place.scratch / "file", place.there / "file")


@check
def rsync_in_place(place: Place) -> None:
    (place.there / "file").write_bytes(content(8, 300_000))
    (place.scratch / "file").write_bytes(content(8, 150_000) + content(9, 100_000))
    place.run("rsync", "-a", "--inplace", "--no-whole-file", f"{place.scratch}/file", f"{place.here}/")
    place.run("cmp", place.scratch / "file", place.there / "file")


@check
def tar_x(place: Place) -> None:
    bring_tree(place)
    place.run("tar", "cf", "tree.tar", "tree", at=place.scratch)
    place.run("tar", "xf", place.scratch / "tree.tar", "-C", place.here)
    place.run("diff", "-r", place.scratch / "tree", place.there / "tree")
    saw_times_and_modes(place, place.there)


@check
def tar_c(place: Place) -> None:
    make_tree(place.there / "tree")
    place.run("tar", "cf", place.scratch / "tree.tar", "tree", at=place.here)
    place.run("tar", "xf", "tree.tar", at=place.scratch)
    place.run("diff", "-r", place.scratch / "tree", place.there / "tree")


@check
def tar_onto_the_mount(place: Place) -> None:
    make_tree(place.there / "tree")
    place.run("tar", "czf", "tree.tgz", "tree", at=place.here)
    place.run("tar", "xzf", place.there / "tree.tgz", "-C", place.scratch)
    place.run("diff", "-r", place.scratch / "tree", place.there / "tree")


@check
def zip_and_unzip(place: Place) -> None:
    bring_tree(place, "to/tree")
    place.run("zip", "-qr", place.here / "tree.zip", "tree", at=place.scratch)
    place.run("unzip", "-qo", place.there / "tree.zip", "-d", place.scratch / "from")
    place.run("diff", "-r", place.scratch / "tree", place.scratch / "from/tree")
    place.run("unzip", "-qo", place.there / "tree.zip", "-d", place.here / "to")
    place.run("diff", "-r", place.scratch / "tree", place.there / "to/tree")


@check
def dd_into_the_middle(place: Place) -> None:
    before = content(10, 100_000)
    (place.there / "file").write_bytes(before)
    after = before[:40_960] + content(11, 4096) + before[45_056:]
    place.guard("file", before, after)
    (place.scratch / "piece").write_bytes(content(11, 4096))
    place.shell(f"dd if={place.scratch}/piece of=file bs=4096 seek=10 conv=notrunc status=none")
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def install_with_a_mode(place: Place) -> None:
    (place.scratch / "file").write_bytes(content(12, 30_000))
    place.arrives("file", content(12, 30_000))
    place.run("install", "-m", "600", place.scratch / "file", place.here / "file")
    place.run("cmp", place.scratch / "file", place.there / "file")
    place.saw("mode", oct(os.stat(place.there / "file").st_mode & 0o777))
