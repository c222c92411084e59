"""Names: made, listed, renamed and removed, among them the odd ones."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

from tests.servers.checks.registry import check, content
from tests.servers.place import Place

RENAME_NOREPLACE = 1
AT_FDCWD = -100


def rename_without_replacing(old: Path, new: Path) -> None:
    """renameat2(2) with RENAME_NOREPLACE."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), RENAME_NOREPLACE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(old))


def tree(root: Path) -> list[str]:
    """Every path below ``root``, with a mark of its kind."""
    found = []
    for directory, names, files in os.walk(root):
        at = os.path.relpath(directory, root)
        found += [os.path.normpath(os.path.join(at, name)) + "/" for name in names]
        found += [os.path.normpath(os.path.join(at, name)) for name in files]
    return sorted(found)


@check
def mkdir_and_rmdir(place: Place) -> None:
    os.mkdir(place.here / "made")
    place.saw("on the server", (place.there / "made").is_dir())
    os.rmdir(place.here / "made")
    place.saw("then", (place.there / "made").exists())


@check
def mkdir_of_what_is_there(place: Place) -> None:
    (place.there / "directory").mkdir()
    (place.there / "file").write_bytes(b"file")
    place.tried("directory", lambda: os.mkdir(place.here / "directory"))
    place.tried("file", lambda: os.mkdir(place.here / "file"))


@check
def mkdir_deep(place: Place) -> None:
    place.shell("mkdir -p a/b/c/d; mkdir -p a/b/c/d; touch a/b/c/d/file")
    place.saw("on the server", tree(place.there))


@check
def rmdir_of_a_full_directory(place: Place) -> None:
    (place.there / "full").mkdir()
    (place.there / "full" / "file").write_bytes(b"kept")
    place.guard("full/file", b"kept")
    place.tried("rmdir", lambda: os.rmdir(place.here / "full"))
    place.tried("of a file", lambda: os.rmdir(place.here / "full" / "file"))


@check
def remove_a_tree(place: Place) -> None:
    for name in ("a", "a/b", "c"):
        (place.there / "top" / name).mkdir(parents=True)
        for number in range(10):
            (place.there / "top" / name / f"f{number}").touch()
    place.shell("rm -r top")
    place.saw("on the server", tree(place.there))


@check
def unlink(place: Place) -> None:
    (place.there / "file").write_bytes(b"1")
    (place.there / "directory").mkdir()
    place.tried("file", lambda: os.unlink(place.here / "file"))
    place.tried("again", lambda: os.unlink(place.here / "file"))
    place.tried("directory", lambda: os.unlink(place.here / "directory"))
    place.saw("on the server", tree(place.there))


@check
def what_is_missing(place: Place) -> None:
    (place.there / "file").write_bytes(b"1")
    place.tried("stat", lambda: os.stat(place.here / "none"))
    place.tried("open", lambda: os.open(place.here / "none", os.O_RDONLY))
    place.tried("list", lambda: os.listdir(place.here / "none"))
    place.tried("create below", lambda: (place.here / "none" / "file").write_bytes(b"1"))
    place.tried("below a file", lambda: os.stat(place.here / "file" / "name"))
    place.tried("list a file", lambda: os.listdir(place.here / "file"))


@check
def rename_to_a_new_name(place: Place) -> None:
    data = content(1, 5000)
    (place.there / "old").write_bytes(data)
    os.rename(place.here / "old", place.here / "new")
    place.saw("names", tree(place.there))
    place.saw("on the server", (place.there / "new").read_bytes())
    place.saw("here", (place.here / "new").read_bytes())


@check
def rename_over_a_file(place: Place) -> None:
    (place.there / "old").write_bytes(b"old")
    (place.there / "new").write_bytes(b"new")
    place.guard("old", b"old", b"new")
    os.rename(place.here / "new", place.here / "old")
    place.saw("names", tree(place.there))
    place.saw("on the server", (place.there / "old").read_bytes())


@check
def rename_without_replacing_a_file(place: Place) -> None:
    (place.there / "old").write_bytes(b"old")
    (place.there / "new").write_bytes(b"new")
    place.guard("old", b"old")
    place.guard("new", b"new")
    place.tried("renameat2", lambda: rename_without_replacing(place.here / "new", place.here / "old"))


@check
def mv_without_replacing_a_file(place: Place) -> None:
    (place.there / "old").write_bytes(b"old")
    (place.there / "new").write_bytes(b"new")
    place.guard("old", b"old")
    place.guard("new", b"new")
    place.shell("mv -n new old")
    place.saw("names", tree(place.there))


@check
def mv_without_replacing_to_a_free_name(place: Place) -> None:
    (place.there / "old").write_bytes(b"old")
    place.shell("mv -n old new")
    place.saw("names", tree(place.there))
    place.saw("on the server", (place.there / "new").read_bytes())


@check
def mv_what_was_made_here(place: Place) -> None:
    place.shell("echo 1 > one; echo 2 > two; mv one three; mv three two")
    place.saw("names", tree(place.there))
    place.saw("on the server", (place.there / "two").read_bytes())


@check
def mv_into_a_directory(place: Place) -> None:
    place.shell("mkdir d; echo 1 > one; mv one d; mv d e")
    place.saw("names", tree(place.there))
    place.saw("on the server", (place.there / "e" / "one").read_bytes())


@check
def rename_a_directory(place: Place) -> None:
    (place.there / "old" / "sub").mkdir(parents=True)
    (place.there / "old" / "sub" / "file").write_bytes(b"1")
    os.rename(place.here / "old", place.here / "new")
    place.saw("names", tree(place.there))
    place.saw("here", (place.here / "new" / "sub" / "file").read_bytes())


@check
def rename_a_directory_over_an_empty_one(place: Place) -> None:
    (place.there / "old").mkdir()
    (place.there / "old" / "file").write_bytes(b"1")
    (place.there / "empty").mkdir()
    place.tried("rename", lambda: os.rename(place.here / "old", place.here / "empty"))
    place.saw("names", tree(place.there))


@check
def rename_a_directory_over_a_full_one(place: Place) -> None:
    for name in ("old", "full"):
        (place.there / name).mkdir()
        (place.there / name / "file").write_bytes(name.encode())
        place.guard(f"{name}/file", name.encode())
    place.tried("rename", lambda: os.rename(place.here / "old", place.here / "full"))


@check
def rename_a_file_over_a_directory(place: Place) -> None:
    (place.there / "file").write_bytes(b"1")
    (place.there / "directory").mkdir()
    place.guard("file", b"1")
    place.tried("file over directory", lambda: os.rename(place.here / "file", place.here / "directory"))
    place.tried("directory over file", lambda: os.rename(place.here / "directory", place.here / "file"))
    place.tried("missing", lambda: os.rename(place.here / "none", place.here / "file"))


@check
def odd_names(place: Place) -> None:
    for name in (
        "with blank",
        " lead",
        "trail ",
        "a\\b",
        "quo'te",
        'double"',
        "-dash",
        "new\nline",
        "*?[x]",
        "ü",
        "...",
        "%s",
    ):
        (place.here / name).write_text(name)
        place.saw(name, (place.there / name).read_text())
    place.saw("on the server", tree(place.there))
    place.saw("here", tree(place.here))


@check
def names_of_any_bytes(place: Place) -> None:
    for raw in (b"\x01\x7f", b"\xff\xfe", b"caf\xe9", "日本".encode("euc-jp")):
        name = os.fsdecode(raw)
        place.tried(repr(raw), lambda name=name: (place.here / name).write_bytes(b"1"))  # type: ignore[misc]
    place.saw("on the server", sorted(os.listdir(os.fsencode(place.there))))
    place.saw("here", sorted(os.listdir(os.fsencode(place.here))))


@check
def names_of_any_bytes_made_there(place: Place) -> None:
    for raw in (b"\xff\xfe", b"caf\xe9", b"plain"):
        (place.there / os.fsdecode(raw)).write_bytes(raw)
    place.saw("here", sorted(os.listdir(os.fsencode(place.here))))
    place.saw("content", (place.here / os.fsdecode(b"caf\xe9")).read_bytes())


@check
def long_names(place: Place) -> None:
    name = "n" * 255
    (place.here / name).write_bytes(b"long")
    place.saw("on the server", (place.there / name).read_bytes())
    place.saw("here", os.listdir(place.here))
    place.tried("longer", lambda: (place.here / ("n" * 256)).write_bytes(b"longer"))


@check
def long_paths(place: Place) -> None:
    path = Path(*["d" * 200] * 8)
    (place.here / path).mkdir(parents=True)
    (place.here / path / "file").write_bytes(b"deep")
    place.saw("on the server", (place.there / path / "file").read_bytes())


@check
def list_what_was_made_here(place: Place) -> None:
    for number in range(120):
        (place.here / f"f{number}").write_bytes(b"%d" % number)
    place.saw("here", tree(place.here))
    place.saw("on the server", tree(place.there))
    for number in range(0, 120, 2):
        os.unlink(place.here / f"f{number}")
    place.saw("half of it here", tree(place.here))
    place.saw("half of it on the server", tree(place.there))


@check
def list_5000_names(place: Place) -> None:
    for number in range(5000):
        os.mknod(place.there / f"name-{number:05}")
    place.saw("here", sorted(os.listdir(place.here)))


@check
def list_with_attributes(place: Place) -> None:
    for number in range(150):
        (place.there / f"f{number}").write_bytes(bytes(number))
    (place.there / "d").mkdir()
    with os.scandir(place.here) as entries:
        place.saw(
            "sizes", sorted((e.name, e.is_dir(), 0 if e.is_dir() else e.stat().st_size) for e in entries)
        )


@check
def read_many_small_files(place: Place) -> None:
    for number in range(200):
        (place.there / f"f{number:03}").write_bytes(content(number, number * 7))
    place.saw("here", place.shell("cat f* | sha1sum"))


@check
def copy_a_tree_by_python(place: Place) -> None:
    for name in ("a", "b/c"):
        (place.scratch / "tree" / name).mkdir(parents=True)
        (place.scratch / "tree" / name / "file").write_bytes(content(len(name), 1000))
    shutil.copytree(place.scratch / "tree", place.here / "copy", copy_function=shutil.copyfile)
    place.saw("on the server", tree(place.there))
    place.run("diff", "-r", place.scratch / "tree", place.there / "copy")
