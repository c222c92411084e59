"""What every answer of the mount is held against: SEMANTICS' rules over the disk's history.

The kernel's calls are told with ``begin`` and ``end``; what the mount changes on the server comes by
``noticed``, and has to be what a program asked for: on the file it meant, with the bytes it wrote. ``Lie`` is
raised where a rule is broken.
"""

from __future__ import annotations

import errno
import math
import os
from contextlib import suppress
from typing import Any

from tests.simulation.disk import OTHER, Disk, Node, everything
from tests.simulation.files_oracle import FileNotes, Track, View
from tests.simulation.history import BACK, History
from tests.simulation.network import MOUNT
from tests.simulation.power import Loss
from tests.simulation.twins import Twins


class Lie(AssertionError):
    """The mount broke a rule; the words say which."""


class Call:
    """A system call under way, or one whose outcome nobody knows.

    ``done`` holds what it changed on the server: (verb, directory, name, number of the change).
    """

    def __init__(
        self, verb: str, bases: set[Node], paths: list[list[bytes]], start: float, moment: int
    ) -> None:
        self.verb = verb
        self.bases = bases
        self.paths = paths
        self.start = start
        self.moment = moment
        self.error: int | None = None
        self.ended = False
        self.returned = math.inf
        self.details: dict[str, Any] = {}
        self.done: list[tuple[str, Node, bytes, int]] = []
        self.rivals: list[Call] = []
        """Calls that may have done as well what one of them is taken to have done."""
        self.nodes: list[Node] = []
        self.views: list[View] = []

    def __repr__(self) -> str:
        return f"{self.verb} {' '.join('/'.join(p.decode() for p in path) for path in self.paths)}"


MAKES = {"mkdir", "open", "symlink", "link"}
TRUNCATES = {"truncate", "open", "ftruncate"}


class Oracle:
    """See the module. ``timeout`` is the mount's; a request may take that and ``SLACK`` seconds."""

    SLACK = 8.0

    SILENT = 8.0
    """Seconds less than the deadline of which the network need be away for a request to miss it."""

    def __init__(self, disk: Disk, lease: float, timeout: float, late: float = 0.0) -> None:
        self.disk = disk
        self.history = History(disk, lease, late)
        self.timeout = timeout
        self.slack = self.SLACK
        self.answer = 0.0
        """Seconds an answer takes at most, once the server has done what it was asked for."""
        self.calls: list[Call] = []
        self.unknown: list[Call] = []
        """Calls that failed although they may still be carried out."""
        self.files: dict[Node, Track] = {}
        self.modes: dict[Node, set[int]] = {}
        self.times: dict[Node, set[int]] = {}
        self.refused: list[tuple[float, int]] = []
        """When, and with which errno, the server refused something."""
        self.cuts: list[float] = []
        self.twins = Twins(lambda node: self.track(node).reach)
        self.holes: list[tuple[float, float]] = []
        self.ready = False
        self.begun = math.inf
        """When programs began."""
        disk.noticed = self.noticed

    # -- calls -----------------------------------------------------------------

    def begin(self, verb: str, bases: set[Node], *paths: list[bytes], **details: Any) -> Call:
        self.history.begins()
        call = Call(verb, bases, list(paths), self.disk.now(), self.history.moment)
        call.details = details
        self.calls.append(call)
        return call

    def end(self, call: Call, problem: OSError | None) -> None:
        """The call returned; ``problem`` is its error. What it changed is known from now on."""
        self.calls.remove(call)
        call.ended = True
        call.returned = self.disk.now()
        call.error = problem.errno if problem is not None else None
        self.history.moment += 1
        self._swap(call, problem)
        if problem is None:
            for view in call.views:
                view.acknowledged = self.history.moment
        known = self.history.acknowledged if problem is None else self.history.doubted
        for _, directory, name, seq in call.done:
            known(directory, name, seq)
            self.history.ended[seq] = self.history.moment
        if problem is not None:
            self.unknown.append(call)
            if call.verb in ("link", "unlink", "rename"):
                self._names_distinguished(call)

    def _names_distinguished(self, call: Call) -> None:
        """Names of one file are two files to the mount once it is not known whether a change of one was done
        (SEMANTICS, Hard links): what is written by one is seen by the other as another client's change is."""
        for index in range(len(call.paths)):
            for node in self.reach(call, index):
                if isinstance(node, Node) and node.is_file and node.nlink > 1:
                    self.track(node).exact = False

    def _swap(self, call: Call, problem: OSError | None) -> None:
        """Of two calls that ask for the same at one time, the one that succeeded is the one that did it. An
        open that need not make a file succeeds on what is there, too."""
        if (problem is None) == bool(call.done):
            return
        if problem is None and call.verb == "open" and not call.details["flags"] & os.O_EXCL:
            return
        for other in [*self.calls, *self.unknown]:
            same = other.verb == call.verb and (other.paths == call.paths or other in call.rivals)
            if same and bool(other.done) != bool(call.done):
                other.done, call.done = call.done, other.done
                other.nodes, call.nodes = call.nodes, other.nodes
                return

    def answered(self, request: str, seconds: float) -> None:
        """A request of the kernel's was answered. A system call may make several, and wait for locks between
        them."""
        if seconds > self.timeout + self.slack:
            raise Lie(f"{request} took {seconds:.1f} s (P4: every operation ends)")

    def reach(self, call: Call, index: int = 0, *, parent: bool = False, asks: bool = False) -> set[Any]:
        """Where path ``index`` of a call may lead, its own change apart; ``asks``: its last name is asked for
        at the server."""
        parts = call.paths[index]
        low = self.history.low(call.start)
        last = self.history.low(call.start, 0.0) if asks else None
        without = frozenset(seq for _, _, _, seq in call.done)
        wanted = parts[:-1] if parent else parts
        return self.history.walk(call.bases, wanted, low, call.moment, None if parent else last, without)

    def moved_by_others(self, call: Call) -> bool:
        """Whether another client changed a name on the call's paths within the lease, or what we gave one
        of them since."""
        low = self.history.low(call.start)
        for parts in call.paths:
            for depth in range(len(parts)):
                for node in self.history.walk(call.bases, parts[:depth], low, call.moment):
                    if isinstance(node, Node) and self.history.changed_by_others(node, parts[depth], low):
                        return True
        return False

    # -- what the mount changes on the server ------------------------------------

    def noticed(self, verb: str, node: Node, **details: Any) -> None:
        """A change on the disk."""
        if not self.ready:
            return
        if self.disk.by == OTHER:
            if verb in ("write", "truncate"):
                before = node.versions[-2].size if len(node.versions) > 1 else 0
                appended = verb == "write" and details["offset"] == before
                self.track(node).foreign_change(self.disk.now(), appended)
            elif verb == "rename":
                opened = {node for node, track in self.files.items() if track.opens}
                self.twins.replaced(self.disk.root, details["to"], details["to_name"], opened)
            return
        if self.disk.by != MOUNT:
            return
        if verb in ("write", "truncate"):
            self._content_changed(verb, node, details)
        elif verb in ("chmod", "utime"):
            known = self.modes if verb == "chmod" else self.times
            value = details["mode" if verb == "chmod" else "mtime"]
            if verb == "utime":
                self.track(node).changed_by_us(verb, self.disk.now(), node.mtime)
            if value not in known.get(node, ()) and not self._wanted(verb, node, value):
                raise Lie(
                    f"the mount set {verb} {value:o} of {node}, which nobody asked for ({self._names(node)})"
                )
        else:
            self._name_changed(verb, node, details)

    def _wanted(self, verb: str, node: Node, value: int) -> bool:
        """A call under way, or of unknown outcome, that asks for it."""
        for call in [*self.calls, *self.unknown]:
            if (
                call.verb in (verb, f"f{verb}")
                and call.details.get("value") == value
                and node in self.targets(call)
            ):
                return True
            made = verb == "chmod" and call.verb in ("open", "mkdir") and call.details.get("mode") == value
            if made and (node in self.targets(call) or node in call.nodes):
                return True
        # what was known is sent back with what is changed
        return verb == "utime" and any(version.mtime == value for version in node.versions)

    def targets(self, call: Call) -> set[Any]:
        """The nodes a call may mean. A name that another client made a link of leads to what the server
        follows it to, as it would for a program there."""
        if "file" in call.details:
            return set(call.details["file"].nodes)
        found = self.reach(call)
        found |= (
            self._followed(call) if any(isinstance(one, Node) and one.is_link for one in found) else set()
        )
        return found.union(*(self.twins.of(one) for one in found if isinstance(one, Node)))

    def _followed(self, call: Call) -> set[Node]:
        """What a link under the last name of ``call`` leads to at the server."""
        found = set()
        for directory in self.reach(call, parent=True):
            if isinstance(directory, Node) and directory.is_dir:
                with suppress(OSError):
                    path = self.disk.path_of(directory) + b"/" + call.paths[0][-1]
                    found.add(self.disk.find(path))
        return found

    def _name_changed(self, verb: str, node: Node, details: dict[str, Any]) -> None:
        places = [(details["directory"], details["name"])]
        if verb == "rename":
            places.append((details["to"], details["to_name"]))
        meant = [call for call in [*self.calls, *self.unknown] if self._meant(call, verb, node, places)]
        for call in meant:
            call.rivals += [other for other in meant if other is not call]
        if meant:
            call = meant[0]
            call.nodes.append(node)
            for directory, name in places:
                call.done.append((verb, directory, name, directory.logs[name][-1].seq))
            if verb == "make":
                self.modes.setdefault(node, set()).add(call.details.get("mode", 0o777))
            if call.ended:
                self.unknown.remove(call)
                self.history.ended |= {seq: self.history.moment for _, _, _, seq in call.done}
            return
        where = ", ".join(f"{name.decode()} in {self._names(directory)}" for directory, name in places)
        raise Lie(f"the mount did {verb} of {where}, which nobody asked for")

    def _meant(self, call: Call, verb: str, node: Node, places: list[tuple[Node, bytes]]) -> bool:
        if verb == "make":
            maker = "mkdir" if node.is_dir else "open" if node.is_file else "symlink"
            right = call.verb == maker and (maker != "open" or call.details["flags"] & os.O_CREAT)
        else:
            right = call.verb == {"remove": "unlink"}.get(verb, verb)
        if not right:
            return False
        if verb == "link":
            there = call.paths[1][-1] == places[0][1] and places[0][0] in self.reach(call, 1, parent=True)
            return there and node in self.targets(call)
        return all(
            call.paths[index][-1] == name and directory in self.reach(call, index, parent=True)
            for index, (directory, name) in enumerate(places)
        )

    def _content_changed(self, verb: str, node: Node, details: dict[str, Any]) -> None:
        track = self.track(node)
        track.changed_by_us(verb, self.disk.now(), node.mtime)
        if verb == "truncate":
            for call in [*self.calls, *self.unknown]:
                if (
                    call.verb in TRUNCATES
                    and call.details.get("size") == details["size"]
                    and (node in call.nodes or node in self.targets(call))
                ):
                    if track.accepted >= call.start or any(own.at >= call.start for own in track.writes):
                        track.exact = False  # which came first nobody can tell
                    call.views.append(track.truncated(details["size"]))
                    return
            raise Lie(f"the mount cut {self._names(node)} to {details['size']} bytes, which nobody asked for")
        tracks = (self.track(twin) for twin in self.twins.of(node))
        if not any(one.justified(details["offset"], details["data"]) for one in tracks):
            raise Lie(
                f"the mount wrote {details['data'][:24]!r}… at {details['offset']} of {self._names(node)}, "
                "which no program wrote there"
            )

    def track(self, node: Node) -> Track:
        if node not in self.files:
            self.files[node] = Track(node, self.history)
        return self.files[node]

    def _names(self, node: Node) -> str:
        """Where a node is, for a person."""
        found = []
        for directory in everything(self.disk.root):
            for name, other in directory.names.items():
                if other is node:
                    found.append((self.disk.path_of(directory).rstrip(b"/") + b"/" + name).decode())
        return f"{node}({','.join(found) or 'no name'})"

    # -- files -----------------------------------------------------------------

    def opened(self, call: Call, flags: int) -> FileNotes:
        """An open returned: which nodes it may have."""
        made = {node for node in call.nodes if node.is_file}
        from_memory = flags & (os.O_ACCMODE | os.O_TRUNC) == 0
        found = set(made)
        if (
            not made or call.rivals or self.cut_within(call)
        ):  # what it made may have been replaced before it was known
            found |= {node for node in self.reach(call, asks=not from_memory) if isinstance(node, Node)}
        if not found:
            raise Lie(f"{call} succeeded, but the name led to no file")
        low = self.history.low(call.start) if from_memory else self.history.low(call.start, 0.0)
        nodes = {twin for node in found if node.is_file for twin in self.twins.of(node)}
        notes = FileNotes(self, nodes, flags, call.start, low)
        for node in notes.nodes:
            self.track(node).opens.append(notes)
        return notes

    def cut(self, begin: float, end: float) -> None:
        """A connection was cut; nobody is let in until ``end``."""
        self.cuts.append(begin)
        troubles = self.history.troubles
        if troubles and begin <= troubles[-1][1] + BACK:  # it had hardly come back
            begin, before = troubles.pop()
            end = max(end, before)
        troubles.append((begin, end))

    def hole(self, begin: float, end: float, everywhere: bool) -> None:
        """Nothing passes, on one connection or on all."""
        if everywhere:
            self.history.troubles.append((begin, end))
        self.holes.append((begin, end))

    def outages(self) -> list[tuple[float, float]]:
        return self.history.troubles + self.holes

    def power_lost(self, losses: list[Loss], before: dict[Node, set[tuple[Node, bytes]]]) -> None:
        """The server's machine lost its power, and with it what ``losses`` say; ``before``: the ``names``."""
        after = self.names()
        for node, track in self.files.items():
            if before.get(node) != after.get(node):
                track.brought_back()
        for loss in losses:
            self.track(loss.node).power_lost(loss, self.disk.now(), self.cuts, self.answer)

    def names(self) -> dict[Node, set[tuple[Node, bytes]]]:
        """Where each file is."""
        found: dict[Node, set[tuple[Node, bytes]]] = {}
        for directory in everything(self.disk.root):
            for name, node in directory.names.items():
                found.setdefault(node, set()).add((directory, name))
        return found

    def refusal(self, kind: str, number: int, node: Node | None) -> None:
        """The server refused what it was told to."""
        self.refused.append((self.disk.now(), number))
        if node is not None and kind in ("write", "fsetstat"):
            self.track(node).lose()

    # -- errors ----------------------------------------------------------------

    def troubled(self, call: Call) -> bool:
        """Whether the network was away for about the deadline within or just before the call."""
        return any(
            end >= call.start - BACK and min(end, self.disk.now()) - begin >= self.timeout - self.SILENT
            for begin, end in self.outages()
        )

    def troubled_since(self, since: float) -> bool:
        """Whether the network was away for about the deadline since then."""
        now = self.disk.now()
        return any(
            end >= since and min(end, now) - begin >= self.timeout - self.SILENT
            for begin, end in self.outages()
        )

    def may_have_lost(self, node: Node) -> bool:
        """Whether an outage took what was written to ``node``: it was longer than the deadline. Who wrote is
        told by the next call, and nobody before that."""
        begun = min((own.at for own in self.track(node).writes), default=math.inf)
        merged: list[tuple[float, float]] = []
        for begin, end in sorted(self.outages()):
            if merged and begin <= merged[-1][1] + BACK:
                begin, end = merged[-1][0], max(end, merged.pop()[1])
            merged.append((begin, end))
        lost = any(end >= begun and end - begin >= self.timeout - BACK for begin, end in merged)
        if lost:
            self.track(node).lose()
        return lost

    def names_changed_since(self, notes: FileNotes) -> bool:
        """Whether another client changed a name of the file since it was opened."""
        return self._named_by_others(notes.nodes, notes.low)

    def _named_by_others(self, nodes: set[Node], since: float) -> bool:
        """Whether another client changed, since then, what a name leads to that ever led to one of
        ``nodes``."""
        return any(
            change.by == OTHER and change.at >= since
            for directory in everything(self.disk.root)
            for log in directory.logs.values()
            if any(change.node in nodes for change in log)
            for change in log
        )

    def linked_here(self, node: Node) -> bool:
        """Whether the mount knows all names of ``node`` for those of one file: nobody else changed it or one
        of them, and every change had its answer."""
        return (
            self.track(node).exact
            and not (self.cuts or self.outages() or self.refused)
            and not self._named_by_others({node}, self.begun)
        )

    def cut_within(self, call: Call) -> bool:
        """Whether a reply may have been lost: a connection broke, or one that had broken was not known to."""
        if any(at >= call.start - 1.0 for at in self.cuts):
            return True
        return any(begin <= self.disk.now() and end >= call.start for begin, end in self.outages())

    def refused_with(self, since: float) -> set[int]:
        """What the server was told to refuse with since then."""
        return {number for at, number in self.refused if at >= since - 1.0}

    def _changed_twice(self, call: Call) -> bool:
        """Whether the last name of ``call`` began to lead elsewhere twice while it was under way, or once and
        may have just before."""
        name = call.paths[0][-1]
        return any(
            sum(change.at >= call.start for change in directory.logs.get(name, ()))
            + self._doubted_before(call, directory, name)
            + self._distinguished(call)
            > 1
            for directory in self.reach(call, parent=True)
            if isinstance(directory, Node)
        )

    def _distinguished(self, call: Call) -> bool:
        """Whether another client changed a file of several names or one of these, or what is open, and a
        connection was lost:
        its handle cannot be had again. What has the name is another file then as well as if it had been
        replaced."""
        low = self.history.low(call.start)
        lost = any(at >= low for at in self.cuts) or any(end >= low for _, end in self.outages())
        return any(
            (track.foreign_at >= low and ((lost and track.opens) or self._had_several(track.node)))
            or (self._had_several(track.node) and self._named_by_others({track.node}, low))
            for track in (self.files.get(one) for one in self.reach(call) if isinstance(one, Node))
            if track is not None
        )

    def _had_several(self, node: Node) -> bool:
        """Whether more than one name ever led to ``node``."""
        logs = (log for directory in everything(self.disk.root) for log in directory.logs.values())
        return sum(any(change.node is node for change in log) for log in logs) > 1

    def _doubted_before(self, call: Call, directory: Node, name: bytes) -> bool:
        """Whether a change of ours of the name had no answer as the call began, or just before: what had the
        name has none any more, and the kernel, told of it under the lock of the directory, which a lookup may
        hold for a deadline, still opens that."""
        return any(
            other.verb in ("rename", "unlink", "link")
            and other.error in (errno.ETIMEDOUT, errno.EIO)
            and other.returned >= call.start - self.timeout
            and any(
                path[-1] == name and directory in self.reach(other, index, parent=True)
                for index, path in enumerate(other.paths)
                if path
            )
            for other in self.unknown
        )

    def _taken_back(self, call: Call) -> bool:
        """Whether the reply may have been lost and others have taken away, meanwhile, what was to be renamed:
        whether it was renamed before nobody can tell."""
        return self.cut_within(call) and self.moved_by_others(call)

    def _alike(self, call: Call) -> bool:
        """Whether the reply of a rename or a removal may have been lost, of a file that others have changed
        meanwhile: nobody can tell then whether what has the name is what was to be replaced or removed."""
        low = self.history.low(call.start)
        changed = any(
            isinstance(node, Node) and self.track(node).foreign_at >= low for node in self.reach(call)
        )
        return changed and self.cut_within(call)

    def explain(self, call: Call, problem: OSError) -> None:
        """Raises Lie where the errno cannot be right. ``expected`` of the verb was looked at before."""
        number = problem.errno
        if number in (errno.ESTALE, errno.EIO) and self.moved_by_others(call):
            return
        if number == errno.EIO and call.verb in ("rename", "unlink") and self._alike(call):
            return
        if number == errno.ENOENT and call.verb == "rename" and self._taken_back(call):
            return
        if number == errno.ESTALE and call.verb == "open" and self._changed_twice(call):
            return  # replaced twice while it is being opened: the kernel asks once more, and no more
        if number in (errno.ETIMEDOUT, errno.EIO) and self.troubled(call):
            return
        if number in self.refused_with(call.start) or (number == errno.EIO and self.refused_with(call.start)):
            return
        raise Lie(f"{call}: {errno.errorcode.get(number or 0, number)}, and nothing explains it")
