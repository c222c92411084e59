"""What is known of the mount's server, in things in which servers of SFTP v3 differ.

Owns ``Traits``, a frozen value, and ``ServerTraits``, which holds the one in force. It begins with what the
server says of itself, is corrected by what is seen, and lasts for the mount over all its sessions. ``sftp``
and ``remote`` contradict it and go by it; ``control`` and ``doctor`` report it. Others ask ``remote``.

A trait is named by what a server does that has it. A trait has ``False`` as its default if an unknown server
is not assumed to have it: relying on it could make sftpfs lie, and going without only costs waits. Any other
trait shows in an answer, before it can do harm, whether the server has it. SEMANTICS, "Other servers", has
the table: what contradicts a trait, what is done then, the test.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """See the module."""

    carries_out_in_order: bool = False
    """Requests of one session are carried out in the order they were sent in."""
    numbers_handles_as_openssh: bool = False
    """The next handle can be predicted (``sftp.handle_prediction``)."""
    closes_without_a_word: bool = False
    """CLOSE only frees the handle: earlier answers reported everything about the writes, and the file had its
    name."""
    honours_exclusive: bool = False
    """OPEN with EXCL fails if the name is taken."""
    rename_keeps_what_is_there: bool = False
    """RENAME fails if the new name is taken."""
    reads_and_writes: bool = False
    """OPEN takes READ with WRITE, and READ by such a handle only reads."""
    keeps_names_short: bool = False
    """No name has more than 255 bytes: a longer one needs no request."""
    keeps_names: bool = True
    """Names are bytes, also those that are no UTF-8."""
    takes_symlink_target_first: bool = True
    """SYMLINK has the target first, as OpenSSH has it, and not as the draft."""
    keeps_link_targets: bool = True
    """A symbolic link leads to the very target it was made with."""
    gives_each_handle_once: bool = True
    """No HANDLE equals one that is still open."""
    handles_outlive_names: bool = True
    """A handle stays with its file, whatever has the name later."""
    opens_several: bool = True
    """A second handle may be open beside the first."""
    writes_anywhere: bool = True
    """A file may be written by several handles, and an existing file may be written in part."""
    writes_in_any_order: bool = True
    """A WRITE may go anywhere in the file, and need not follow the one before."""
    opens_what_is_there: bool = True
    """An existing file may be opened to be written without CREAT."""
    appends: bool = True
    """OPEN takes APPEND."""
    creates_with_a_mode: bool = True
    """OPEN takes the permissions of a new file."""
    takes_exclusive: bool = True
    """OPEN takes EXCL, whether or not it honours it."""
    answers_fstat: bool = True
    """FSTAT is answered."""
    answers_lstat: bool = True
    """LSTAT is answered."""
    answers_stat: bool = True
    """STAT is answered."""
    renames_links: bool = True
    """RENAME of a link renames the link, and not what it leads to."""
    answers_realpath: bool = True
    """REALPATH is answered."""
    sets_by_handle: bool = True
    """FSETSTAT is carried out."""
    sets_before_close: bool = True
    """FSETSTAT is carried out before the CLOSE of its handle that is sent right behind it."""
    shows_before_close: bool = False
    """A new file is the same before its CLOSE as behind it."""
    sets_by_path: bool = True
    """SETSTAT is carried out."""
    sets_modes: bool = True
    """Permissions are set."""
    sets_times: bool = True
    """Times are set."""
    sets_sizes: bool = True
    """A size is set."""
    resizes_in_place: bool = True
    """A file that is given a size keeps the content before it."""
    mtime_shows_writes: bool = True
    """A file that is written gets another mtime."""
    keeps_case_apart: bool = True
    """Names that differ only in case are two."""

    @property
    def one_at_a_time(self) -> bool:
        """No handle may be made while there is another."""
        return not (self.gives_each_handle_once and self.opens_several)


OPENSSH = Traits(
    carries_out_in_order=True,
    numbers_handles_as_openssh=True,
    closes_without_a_word=True,
    honours_exclusive=True,
    rename_keeps_what_is_there=True,
    keeps_names_short=True,
    reads_and_writes=True,
    shows_before_close=True,
)
"""OpenSSH's sftp-server: one process a session, one request at a time, the file system's own calls."""

OPENSSH_EXTENSIONS = frozenset(
    {
        "posix-rename@openssh.com",
        "statvfs@openssh.com",
        "fstatvfs@openssh.com",
        "hardlink@openssh.com",
        "fsync@openssh.com",
        "lsetstat@openssh.com",
        "limits@openssh.com",
        "expand-path@openssh.com",
        "copy-data",
        "home-directory",
        "users-groups-by-id@openssh.com",
    }
)
"""Every extension OpenSSH's sftp-server has announced since 5.1 (PROTOCOL, section 4)."""

OPENSSH_MARKS = frozenset({"fstatvfs@openssh.com", "limits@openssh.com"})
"""One of these and nothing foreign beside it tells OpenSSH's sftp-server; pkg/sftp and others that copied the
common ones have neither."""

OPENSSH_HOSTS = ("OpenSSH", "dropbear", "tinyssh")
"""How SSH servers name themselves that run OpenSSH's sftp-server: one that has SFTP built in is another's."""


WHOLE_FILES = ("rclone",)
"""How SSH servers name themselves that may empty a file that is opened to be written in part, and only as it
is closed: nothing else tells before it is too late. (With a cache of its own rclone keeps it, and reports
nothing.) What they have open goes by its name, too, and a file put there in the same second with the same
size shows in nothing."""


EMPTIES_TO_RESIZE = ("paramiko",)
"""How SSH servers name themselves that open a file to be emptied as they give it a size: what was to be kept
is zeros then, and only reading it tells."""


def first_assumption(extensions: Iterable[str], software: str) -> Traits:
    """What is assumed of a server that announced ``extensions`` and whose SSH server calls itself
    ``software``, as ``OpenSSH_9.2p1``; empty where that is not known."""
    announced = frozenset(extensions)
    own = bool(announced & OPENSSH_MARKS) and announced <= OPENSSH_EXTENSIONS
    if own and (not software or software.startswith(OPENSSH_HOSTS)):
        return OPENSSH
    return Traits(
        handles_outlive_names=not software.startswith(WHOLE_FILES),
        writes_anywhere=not software.startswith(WHOLE_FILES),
        resizes_in_place=not software.startswith(EMPTIES_TO_RESIZE),
    )


class ServerTraits:
    """See the module. One object a mount.

    INVARIANT: a trait that was contradicted stays ``False``, whatever a later session announces.
    """

    __slots__ = ("_proven", "_report", "_seen", "_tried", "_vouched", "contradicted", "known", "software")

    def __init__(self, report: Callable[[str], None] = logger.warning) -> None:
        """``report`` is called once for each trait that is found not to hold."""
        self._report = report
        self.known = OPENSSH
        """What is gone by. Before the first session nothing is asked."""
        self.software = ""
        """What the SSH server calls itself; empty where that is not known."""
        self.contradicted: dict[str, str] = {}
        """Traits that were found not to hold, and what was seen, for people."""
        self._seen: set[str] = set()
        """Traits that were seen to hold."""
        self._proven: set[str] = set()
        """Traits that no server is granted unseen, and this one was seen to have."""
        self._tried: set[str] = set()
        self._vouched = True
        """The server is one of those whose traits are known."""

    def met(self, extensions: Iterable[str], software: str) -> None:
        """A session began with a server that announced ``extensions``."""
        self.software = software
        assumed = first_assumption(extensions, software)
        self._vouched = assumed is OPENSSH
        found = dict.fromkeys(self._proven, True) | dict.fromkeys(self.contradicted, False)
        self.known = replace(assumed, **found)

    def contradict(self, trait: str, seen: str) -> None:
        """The server does not do what ``trait`` says: ``seen``, for people. Told in the log once."""
        if trait in self.contradicted:
            return
        self.contradicted[trait] = seen
        self.known = replace(self.known, **{trait: False})
        self._report(f"this server {LACKS[trait]}: {seen}")

    def may_be_tried(self, trait: str) -> bool:
        """Whether ``trait``, which is not granted, is worth a question: once in the life of a mount."""
        if getattr(self.known, trait) or trait in self.contradicted or trait in self._tried:
            return False
        self._tried.add(trait)
        return True

    def prove(self, trait: str) -> None:
        """The server has ``trait``, which it was not granted, unless something contradicted that."""
        if trait not in self.contradicted:
            self._proven.add(trait)
            self.known = replace(self.known, **{trait: True})

    def seen(self, traits: Iterable[str]) -> None:
        """The server was seen to do what ``traits`` say."""
        self._seen.update(traits)

    def held(self, trait: str) -> bool:
        """The server was seen to do what ``trait`` says."""
        return trait in self._seen

    @property
    def of_openssh(self) -> bool:
        """The server is one of those whose traits are known."""
        return self._vouched

    def sure(self, trait: str) -> bool:
        """``trait`` is granted, and not ``doubtful``."""
        return bool(getattr(self.known, trait)) and not self.doubtful(trait)

    def doubtful(self, trait: str) -> bool:
        """``trait`` is granted, but neither was it seen to hold nor is the server one that has it: a refusal
        may be for want of it."""
        return not self._vouched and trait not in self._seen and bool(getattr(self.known, trait))

    def table(self) -> list[tuple[str, bool, str]]:
        """Each trait, whether it is gone by, and what contradicted it, for ``status`` and ``doctor``."""
        return [
            (field.name, getattr(self.known, field.name), self.contradicted.get(field.name, ""))
            for field in fields(Traits)
        ]


LACKS = {
    "carries_out_in_order": "does not carry out requests in the order they were sent",
    "numbers_handles_as_openssh": "numbers handles in a way of its own",
    "closes_without_a_word": "decides about a file as it is closed",
    "honours_exclusive": "opens an existing file although it was to be new",
    "rename_keeps_what_is_there": "replaces what has the new name of a rename",
    "keeps_names_short": "has names of more than 255 bytes",
    "keeps_names": "has other names in place of those that are not UTF-8",
    "takes_symlink_target_first": "takes the path of a symbolic link before its target",
    "keeps_link_targets": "stores other targets of symbolic links than it is given",
    "gives_each_handle_once": "gave one handle to two files",
    "handles_outlive_names": "goes by the name of a file that is open",
    "opens_several": "opens one file at a time",
    "writes_anywhere": "takes whole new files only",
    "writes_in_any_order": "takes what is written to a file from front to back only",
    "opens_what_is_there": "writes files anew only, and appends to them",
    "appends": "does not open files to append to them",
    "reads_and_writes": "does not open a file to read and write it",
    "creates_with_a_mode": "does not create a file with permissions",
    "takes_exclusive": "does not open a file that is to be new",
    "answers_fstat": "does not report attributes of an open file",
    "answers_lstat": "does not report attributes without following links",
    "answers_stat": "does not report attributes of what a link leads to",
    "renames_links": "may rename what a link leads to",
    "answers_realpath": "does not report canonical paths",
    "sets_by_handle": "does not set attributes of an open file",
    "sets_before_close": "closes a file before it sets its attributes, though asked to set them first",
    "shows_before_close": "may show a file as it is once it is closed only",
    "sets_by_path": "does not set attributes by path",
    "sets_modes": "does not set permissions",
    "sets_times": "does not set times",
    "sets_sizes": "does not set sizes",
    "resizes_in_place": "empties a file that is given a size",
    "mtime_shows_writes": "gives a changed file the time it had before",
    "keeps_case_apart": "takes names that differ in case alone for one",
}
"""What a server does that contradicts a trait, in the words of the log."""
