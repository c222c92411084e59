"""The one table of commands: dispatch, ``--help``, the README, the man page and completion are made from it.

Owns rows only; what a command does is in ``sftpfs/cli/run/``.
"""

from __future__ import annotations

from sftpfs.cli.commands.row import Argument, Command, Count, Switch, Word
from sftpfs.cli.options import value_parsers
from sftpfs.cli.tools.helper_links import DIRECTORY
from sftpfs.host.logs import LEVELS

_MOUNT = Argument("MNT", "the mountpoint, or any path below it", Word.MOUNTPOINT)
_PATHS = Argument("PATH", "files or directories in a mount", Word.PATH, Count.SOME)


def _interval(text: str) -> float:
    """Seconds between two updates, within the mount's limits."""
    value = value_parsers.number(text)
    if not 0.1 <= value <= 60:
        raise ValueError("0.1 to 60 seconds")
    return value


def _level(text: str) -> str:
    """A level of the log."""
    if text not in LEVELS:
        raise ValueError(", ".join(LEVELS))
    return text


INSTALL_HELPERS = Command(
    "install-helpers",
    "let mount(8) and umount(8) know the types sftpfs and fuse.sftpfs",
    "Links mount.sftpfs, mount.fuse.sftpfs, umount.sftpfs and umount.fuse.sftpfs to this "
    "program, and puts a small script umount.fuse beside them, where mount(8) and umount(8) "
    "look for them. From then on `mount -t sftpfs host:dir /mnt` and lines of these types in "
    "fstab work, and umount waits until everything is on the server.\n\n"
    "A plain `umount DIRECTORY` of root runs umount.fuse, whatever FUSE file system it is. "
    "Mounts of other programs are unmounted as before; so are ours if sftpfs cannot be run. If "
    "another program has put an umount.fuse there, it is left alone. Then only `umount -t "
    "fuse.sftpfs`, `umount -a`, systemd and users' umount wait.",
    switches=(
        Switch(("--remove",), "remove the links, and the type from PRUNEFS"),
        Switch(
            ("--directory",),
            "the directory of the links",
            value_parsers.path,
            "DIR",
            DIRECTORY,
            word=Word.DIRECTORY,
        ),
    ),
)

DOCTOR = Command(
    "doctor",
    "examine this machine and a server, and say what is wrong and which options to set",
    "Checks whether FUSE can be used here. Checks whether the server lets us in, offers SFTP, "
    "and lets us read and write in the directory; which of SFTP's extensions and limits it has;"
    " how far away and how fast it is. Says what each result means for a mount. Options are "
    "those of a mount.\n\n"
    "The command makes a temporary file in the directory and removes it. With --try it makes "
    "some more, in a directory of their own, and shows what this server does where servers "
    "differ. It ends with 0 if a mount is possible, otherwise with the status that the mount "
    "would end with.",
    (
        Argument(
            "SERVER",
            "[user@]host:[directory]; without it only this machine is examined",
            Word.SERVER,
            Count.OPTIONAL,
        ),
    ),
    (
        Switch(("--try",), "try out what this server does, with files made there"),
        Switch(("-o",), "options, as for a mount", value_parsers.text, "OPTIONS"),
    ),
    as_mount=True,
)

BENCH = Command(
    "bench",
    "measure how fast mounts of a server are",
    "Mounts the directory, writes a file of random bytes and small files there, mounts it "
    "afresh, looks at them and reads them, and removes them. Options are those of a mount. The "
    "result is one run; it depends also on the server's disk, on the line, and on what else "
    "they do.",
    (Argument("SERVER", "[user@]host:[directory], a directory you may write to", Word.SERVER),),
    (
        Switch(("--size",), "size of the large file in MiB", value_parsers.integer(1, 65536), "MIB", "64"),
        Switch(("-o",), "options, as for a mount", value_parsers.text, "OPTIONS"),
    ),
    as_mount=True,
)

COMMANDS: tuple[Command, ...] = (
    Command(
        "status",
        "show the state of a mount; without MNT, of all your mounts",
        "Shows the server, how long it takes to answer, the connections, what is cached, what is "
        "written and not yet on the server, and the last problem.",
        (Argument("MNT", _MOUNT.help, Word.MOUNTPOINT, Count.OPTIONAL),),
    ),
    Command(
        "stats",
        "show every counter, for programs; without MNT, of all your mounts",
        "Prints what the mount has counted since it was made. --json (the default) prints an object"
        " with a list of mounts, each beginning with a summary for people. The counts of a latency "
        "histogram belong to the upper bounds in latency_bounds, in seconds; the last count belongs"
        " to what took longer. misses says why the server was asked for names, listings and "
        "content: new (not known), expired (its lease had ended), doubted (not believed since a "
        "change or a refresh; content since it was opened beside a writer), uncached (not kept, "
        "because of an option; content also because a small part was read at random). For content"
        " also: evicted (made room for others), changed (on the server), written (or cut, here), "
        "awaited (already on its way). --prometheus prints the text that a "
        "node exporter's textfile collector reads.",
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
        "Ends with status 74 if something could not be written.",
        (_MOUNT,),
    ),
    Command(
        "top",
        "watch a mount at work",
        "Shows every second what goes over the network; the requests to the server and the "
        "operations of programs, with the times within which half, 95 and 99 of 100 end; how often "
        "the caches and what was fetched ahead were of use; and the slowest operations, first those"
        " that still wait. Operations that came before top was started are not among them. Without "
        "a terminal it shows this once.",
        (_MOUNT,),
        (Switch(("-i", "--interval"), "time between two updates", _interval, "SECONDS", default="1"),),
    ),
    Command(
        "log",
        "show what a mount logged last, and what it logs; with --trace every operation",
        "Shows the last lines of the mount's log and follows it, until Ctrl-C. With --trace each "
        "request of the kernel is a line: when it came, what it was, the path in the mount, the "
        "answer, and how long that took. Watching costs a little; it costs nothing while nobody "
        "watches.\n\n"
        "--level shows nothing. It changes what the mount logs from now on, in its log file or "
        "syslog and here. error, warning, info and debug log that level and what is worse; default "
        "is what the mount logged when it was mounted. `sftpfs status` shows a level that is not "
        "the default.",
        (_MOUNT,),
        (
            Switch(("--trace",), "a line for every operation", excludes="what"),
            Switch(
                ("--level",),
                f"change what is logged from now on: {', '.join(LEVELS)}",
                _level,
                "LEVEL",
                excludes="what",
            ),
        ),
    ),
    Command(
        "bwlimit",
        "limit what a mount's content takes of the line",
        "Content takes so many bytes a second at most from now on: one number for both ways, or that to the "
        "server and that from it. K, M and G are 1024 each; off is no limit. Names and attributes are "
        "neither counted nor held up. `sftpfs status` shows the limit there is; -o bwlimit= sets it from "
        "the start.",
        (_MOUNT, Argument("LIMIT", "UP[:DOWN]: 500K, 2M:off, off", parse=value_parsers.bandwidth)),
    ),
    Command(
        "umount",
        "bring everything to the server and unmount",
        "Waits until all that was written is on the server, showing how much is left, then unmounts"
        " and waits for the mount's process. If somebody uses the mount it says who, and if "
        "something could not be written it says what; in both cases the mount stays.",
        (_MOUNT,),
        (
            Switch(
                ("--force",),
                "unmount although somebody uses the mount, and give up what the server does not take within"
                " three seconds; says what is lost",
            ),
        ),
    ),
    Command(
        "restore",
        "write back what the server did not take; without WHAT, list it",
        "What a program wrote and the server did not take is saved on this machine. Without "
        "WHAT this command lists it. With WHAT it writes that back into its file through the mount, "
        "the earliest loss first, reads it again from the server, and removes what was saved. It "
        "leaves alone a file that was changed, replaced or removed since: look at it first. What "
        "has been written back or dropped counts as acknowledged: status, flush and umount no "
        "longer report it. Ends with 17 if something was not written back.",
        (
            Argument(
                "WHAT",
                "all, files or directories in a mount, files on the server, names that the list shows",
                Word.PATH,
                Count.ANY,
            ),
        ),
        (
            Switch(("--list",), "only list what is saved", excludes="form"),
            Switch(("--drop",), "remove what is saved, and do not write it back", excludes="form"),
            Switch(("--force",), "write also into a file that changed since, or is missing"),
            Switch(
                ("--to",),
                "write what one file lost into this file",
                value_parsers.path,
                "FILE",
                excludes="form",
                word=Word.PATH,
            ),
        ),
    ),
    Command(
        "refresh",
        "see now what the server has",
        "Forgets what is cached about these paths and everything below them, and makes the kernel "
        "forget it too: names, attributes and content. Use it to see changes made elsewhere before "
        "the leases end. What was written here and is not on the server yet is kept.",
        (_PATHS,),
    ),
    Command(
        "warm",
        "fetch listings and content ahead",
        "Lists everything below the paths and reads every file through the mount, many at once, and"
        " shows its progress. The kernel and the mount keep what it read: content as long as there "
        "is memory and the file does not change, names and attributes as long as their leases last "
        "(dcache_timeout=). Links are not followed.",
        (_PATHS,),
    ),
    Command(
        "cp",
        "copy files, on the server where both are in one mount",
        "Copies as cp(1) does: SRC to DST, or each SRC into the directory DST. Mode and times are kept. "
        "Within one mount the server itself copies (copy-data), and the data does not travel. If the "
        "server cannot do that, and between a mount and anything else, the data is read and written here;"
        " with -r, what is new in a mount is made many files at once. An existing file gets the new "
        "content. Without -r links are followed; with -r they are copied as links. Hard links become "
        "files of their own.\n\n"
        "A file that could not be copied to its end, or is being copied at Ctrl-C, is removed. A "
        "file that changes while it is copied is copied again, once. Ends with 1 if anything was "
        "not copied, changed all the time, or was not kept as asked with -p.",
        (
            Argument("SRC", "files, with -r also directories", Word.PATH, Count.SOME),
            Argument("DST", "the destination; a directory for several SRC", Word.PATH),
        ),
        (
            Switch(
                ("-r", "-R", "--recursive"), "copy directories with everything in them, and links as links"
            ),
            Switch(("-p", "--preserve"), "keep the owners too, as far as you may, and say what was not kept"),
            Switch(("-d", "--no-dereference"), "copy links as links, also without -r"),
            Switch(("-a", "--archive"), "the same as -dR and -p"),
            Switch(("-f", "--force"), "remove a destination that cannot be opened to be overwritten"),
            Switch(("-v", "--verbose"), "print what is copied, and to where"),
        ),
    ),
    Command(
        "rm",
        "remove files and trees in a mount, many at once",
        "Removes as rm(1) does, but from within the mount and with many requests under way at once: "
        "over a distance rm itself waits for each file. Ends with 0 once the server has removed "
        "everything. Otherwise it names what it could not remove and why, goes on, and ends with 1. "
        "It never asks, not even about a write-protected file, and has no -i.\n\n"
        "A symbolic link is removed, and what it leads to is not. The command refuses /, . and .., "
        "mountpoints, and what is in no sftpfs mount; what is mounted below a path stays. What "
        "another client makes in a directory after it was listed stays as well, and so does the "
        "directory. After Ctrl-C what was under way may be removed or not.",
        (Argument("PATH", "files, with -r also directories, in mounts", Word.PATH, Count.SOME),),
        (
            Switch(("-r", "-R", "--recursive"), "remove directories with everything in them"),
            Switch(("-f", "--force"), "what is not there is no failure"),
            Switch(("-d", "--dir"), "remove empty directories, also without -r"),
            Switch(("-v", "--verbose"), "print what is removed"),
        ),
    ),
    DOCTOR,
    Command(
        "report",
        "collect what a bug report needs in one file; without MNT, of all your mounts",
        "Writes a tar.gz that only you may read, and prints its name. The file holds the versions "
        "of sftpfs, Python, its libraries, the kernel, FUSE and OpenSSH, and what `sftpfs doctor` "
        "finds on this machine. For each mount it holds the options, `status`, `stats`, the last "
        "lines of the log, the line of mountinfo and the state of the process. The command makes no"
        " connection. It works without a mount, too; it says so if a mount gives no answer.\n\n"
        "Passwords, tokens in URLs and the arguments of commands such as ProxyCommand are left out."
        " Names of hosts, users, directories and files are not: look at the file before you publish"
        " it.",
        (Argument("MNT", _MOUNT.help, Word.MOUNTPOINT, Count.OPTIONAL),),
        (
            Switch(
                ("--to",), "the file to write; it must not exist", value_parsers.path, "FILE", word=Word.PATH
            ),
        ),
    ),
    BENCH,
    INSTALL_HELPERS,
)
"""In the order the help shows them."""
