"""The one table of commands: dispatch, ``--help``, the README, the man page and completion are made from it.

Owns rows only; what a command does is in ``sftpfs/cli/run/``.
"""

from __future__ import annotations

from sftpfs.cli import values
from sftpfs.cli.command import Argument, Command, Count, Switch, Word
from sftpfs.cli.helper_links import DIRECTORY

_MOUNT = Argument("MNT", "the mountpoint, or any path below it", Word.MOUNTPOINT)
_PATHS = Argument("PATH", "files or directories in a mount", Word.PATH, Count.SOME)


def _interval(text: str) -> float:
    """Seconds between two looks, as the mount allows them."""
    value = values.number(text)
    if not 0.1 <= value <= 60:
        raise ValueError("0.1 to 60 seconds")
    return value


INSTALL_HELPERS = Command(
    "install-helpers",
    "let mount(8) and umount(8) know the types sftpfs and fuse.sftpfs",
    "Links mount.sftpfs, mount.fuse.sftpfs, umount.sftpfs and umount.fuse.sftpfs to this program, and puts "
    "a small script umount.fuse beside them, where mount(8) and umount(8) look for them. From then on "
    "`mount -t sftpfs host:dir /mnt` and lines of these types in fstab work, and umount waits until "
    "everything is on the server.\n\n"
    "umount.fuse is what a plain `umount DIRECTORY` of root asks for, whatever FUSE file system it is. "
    "Those of other programs are unmounted as before, and ours too where sftpfs cannot be run. Where another "
    "program has put it there, it is left alone, and only `umount -t fuse.sftpfs`, `umount -a`, systemd and "
    "users' umount wait.",
    switches=(
        Switch(("--remove",), "remove the links"),
        Switch(("--directory",), "where the links are", values.path, "DIR", DIRECTORY, word=Word.DIRECTORY),
    ),
)

DOCTOR = Command(
    "doctor",
    "examine this machine and a server, and say what is wrong and which options to set",
    "Looks whether FUSE can be used here, and whether the server lets us in, offers SFTP, and lets us "
    "read and write in the directory; which of SFTP's extensions and limits it has; how far and how "
    "fast it is. Says of each what it means for a mount. Options are those of a mount.\n\n"
    "A temporary file is made in the directory and removed; with --try some more, in a directory of their "
    "own, which show what this server does where servers differ. Ends with 0 where a mount is possible, "
    "else with the status the mount would end with.",
    (
        Argument(
            "SERVER", "[user@]host:[directory]; without it this machine alone", Word.SERVER, Count.OPTIONAL
        ),
    ),
    (
        Switch(("--try",), "try out, with files made there, what this server does"),
        Switch(("-o",), "options, as for a mount", values.text, "OPTIONS"),
    ),
    as_mount=True,
)

BENCH = Command(
    "bench",
    "measure how fast mounts of a server are",
    "Mounts the directory, writes a file of random bytes and small files there, mounts it afresh, looks "
    "at them and reads them, and removes them. Options are those of a mount. What is shown is one run, "
    "and the server's disk, the line and what else they do have their part in it.",
    (Argument("SERVER", "[user@]host:[directory], a directory you may write to", Word.SERVER),),
    (
        Switch(("--size",), "size of the large file in MiB", values.integer(1, 65536), "MIB", "64"),
        Switch(("-o",), "options, as for a mount", values.text, "OPTIONS"),
    ),
    as_mount=True,
)

COMMANDS: tuple[Command, ...] = (
    Command(
        "status",
        "how a mount is; without MNT, all mounts of yours",
        "Tells the server, how long it takes to answer, the connections, what is cached, what is "
        "written and not yet on the server, and the last problem.",
        (Argument("MNT", _MOUNT.help, Word.MOUNTPOINT, Count.OPTIONAL),),
    ),
    Command(
        "stats",
        "every counter, for programs; without MNT, of all mounts of yours",
        "Prints what the mount has counted since it was made. With --json (the default) an object "
        "with a list of mounts, each beginning with a summary for people; the counts of a latency "
        "histogram belong to the upper ends in "
        "latency_bounds, seconds, and the last to what took longer. With --prometheus the text "
        "that a node exporter's textfile collector takes.",
        (Argument("MNT", _MOUNT.help, Word.MOUNTPOINT, Count.OPTIONAL),),
        (
            Switch(("--json",), "as JSON (default)", excludes="form"),
            Switch(("--prometheus",), "in Prometheus's text format", excludes="form"),
        ),
    ),
    Command(
        "flush",
        "wait until all that was written is on the server",
        "Sends what was written through the mount and waits until the server has acknowledged it. "
        "Ends with status 74 where something could not be written.",
        (_MOUNT,),
    ),
    Command(
        "top",
        "watch a mount at work",
        "Shows, every second: what goes over the network, the requests to the server and the "
        "operations of programs with how long they take (half, 95 and 99 of 100 take at most that), "
        "how often the caches and what was fetched ahead were of use, and the slowest operations, "
        "those that still wait first. Those that came before top was started are not among them. "
        "Without a terminal it shows that once.",
        (_MOUNT,),
        (Switch(("-i", "--interval"), "time between two looks", _interval, "SECONDS", default="1"),),
    ),
    Command(
        "log",
        "what a mount logged last, and what it logs; with --trace every operation",
        "Shows the last lines of the mount's log and follows it, until Ctrl-C. "
        "With --trace each request of the kernel "
        "is a line: when it came, what it was, the path in the mount, what it was answered, how long "
        "that took. Watching costs a little; nobody watching costs nothing.",
        (_MOUNT,),
        (Switch(("--trace",), "a line for every operation"),),
    ),
    Command(
        "umount",
        "bring everything to the server and unmount",
        "Waits until all that was written is on the server, showing how much is left, then unmounts "
        "and waits for the mount's process. Where somebody uses the mount it says who, and where "
        "something could not be written it says what; the mount stays then.",
        (_MOUNT,),
        (
            Switch(
                ("--force",),
                "unmount although somebody uses it, and without what the server does not take "
                "within three seconds; says what is lost",
            ),
        ),
    ),
    Command(
        "restore",
        "write back what the server did not take; without WHAT, list it",
        "What a program wrote and the server did not take is saved on this machine. Writes it back into its "
        "file through the mount, all of it and the earliest loss first, reads it again from the server, and "
        "removes what was saved. A file that was changed since, replaced or removed is left alone: look at "
        "it first. What has been written back or dropped counts as acknowledged: status, flush and umount "
        "speak of it no longer. Ends with 17 where something was not written back.",
        (
            Argument(
                "WHAT",
                "all, files or directories in a mount, files on the server, names that the list shows",
                Word.PATH,
                Count.ANY,
            ),
        ),
        (
            Switch(("--list",), "only tell what is saved", excludes="form"),
            Switch(("--drop",), "remove what is saved, and do not write it back", excludes="form"),
            Switch(("--force",), "also into a file that changed since, or is missing"),
            Switch(("--to",), "write what one file lost into this file", values.path, "FILE", word=Word.PATH),
        ),
    ),
    Command(
        "refresh",
        "see now what the server has",
        "Believes nothing any more of what is cached about these paths and everything below them, "
        "and makes the kernel forget it too: names, attributes and content. For changes made "
        "elsewhere that shall be seen before the leases end. What was written here and is not on "
        "the server yet is kept.",
        (_PATHS,),
    ),
    Command(
        "warm",
        "fetch listings and content ahead",
        "Lists everything below the paths and reads every file through the mount, many at once, and "
        "shows how far it is. The kernel and the mount keep it: content as long as there is memory "
        "and the file does not change, names and attributes as long as their leases last "
        "(dcache_timeout=). Links are not followed.",
        (_PATHS,),
    ),
    Command(
        "cp",
        "copy files, on the server where both are in one mount",
        "Copies as cp(1) does: SRC to DST, or each SRC into the directory DST. Mode and times are kept. "
        "What leads from one mount into the same mount is copied by the server itself (copy-data), and "
        "does not travel; where the server cannot, and between a mount and anything else, it is read and "
        "written here. A file that exists gets the new content. Without -r links are followed, with it "
        "they are copied as links. Hard links become files of their own.\n\n"
        "A file that could not be copied to its end, or is under way at Ctrl-C, is removed. One that "
        "changes while it is copied is copied again, once. Ends with 1 where anything was not copied, "
        "changed all the time, or was not kept as asked with -p.",
        (
            Argument("SRC", "files, with -r also directories", Word.PATH, Count.SOME),
            Argument("DST", "where to; a directory for several", Word.PATH),
        ),
        (
            Switch(("-r", "-R", "--recursive"), "directories with everything in them, links as links"),
            Switch(("-p", "--preserve"), "keep the owners too, as far as you may, and say what was not kept"),
            Switch(("-d", "--no-dereference"), "links as links, without -r too"),
            Switch(("-a", "--archive"), "-dR and -p"),
            Switch(("-f", "--force"), "remove what cannot be opened to be written over"),
            Switch(("-v", "--verbose"), "say what is copied to where"),
        ),
    ),
    DOCTOR,
    BENCH,
    INSTALL_HELPERS,
)
"""In the order the help shows them."""
