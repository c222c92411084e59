"""Programs' verbs on open files; see ``programs``."""

from __future__ import annotations

import errno
import os
from typing import Any

import trio

from tests.simulation.dates import Dating
from tests.simulation.files_oracle import FileNotes, first_difference
from tests.simulation.kernel import Process, process
from tests.simulation.kernel_files import KFile
from tests.simulation.oracle import Call, Lie
from tests.simulation.programs import FLAGS, Program, content, split


class FileProgram(Program):
    """open, read, write, fsync, close and what is made of them. Slots are named by the scenario."""

    # -- calls -----------------------------------------------------------------------

    async def _open(self, path: str, flags: int) -> tuple[KFile, FileNotes] | None:
        details: dict[str, Any] = {"flags": flags, "mode": 0o644}
        if flags & os.O_TRUNC:
            details["size"] = 0
        call = self.begin("open", path, **details)
        file, problem = await self.call(call, self.kernel.open(self.base, split(path), flags))
        if problem is not None:
            if problem.errno not in self._opening(call, flags):
                self.oracle.explain(call, problem)
            return None
        notes = self.oracle.opened(call, flags)
        file.oracle = notes
        self.opened[file] = notes
        return file, notes

    def _opening(self, call: Call, flags: int) -> set[int]:
        found, errors = self._last(call)
        for node in found:
            if node is None:
                errors.add(0 if flags & os.O_CREAT else errno.ENOENT)
            elif flags & os.O_EXCL:
                errors.add(errno.EEXIST)
            elif node.is_dir:
                errors.add(errno.EISDIR)
            elif node.is_link:
                errors.add(errno.ELOOP)
        return errors

    async def _on_file(
        self, verb: str, notes: FileNotes, work: Any, **details: Any
    ) -> tuple[Any, OSError | None]:
        call = self.oracle.begin(verb, self.bases, file=notes, **details)
        call.paths = [[f"#{'/'.join(str(node.number) for node in notes.nodes)}".encode()]]
        result, problem = await self.call(call, work)
        if problem is not None:
            self._failed(call, notes, problem)
        return result, problem

    def _failed(self, call: Call, notes: FileNotes, problem: OSError) -> None:
        """An error on an open file: right only if the server refused, the network was away, or others changed
        it."""
        cut = any(self.oracle.track(node).cut_since(notes.low) for node in notes.nodes)
        if call.verb == "read" and problem.errno == errno.EIO and (cut or notes.sure is None):
            return  # shorter than it was told, or another: the kernel would fill it up with zeros (F14)
        notes.reported = True
        notes.owed = False
        forgotten = any(self.oracle.track(node).forgotten for node in notes.nodes)
        before = any(self.oracle.track(node).lossy for node in notes.nodes)
        for node in notes.nodes:
            self.oracle.track(node).lose()
        if before:
            return  # who opens a file of which something was lost may hear of it (errseq)
        if problem.errno == errno.ESTALE and (self._may_be_stale(notes) or self._others_reported(notes)):
            return
        if self.oracle.refused_with(notes.opened) or self.oracle.troubled_since(notes.opened):
            return
        if problem.errno == errno.EBADF or (
            problem.errno == errno.EIO and call.verb == "fsync" and forgotten
        ):
            return
        if problem.errno == errno.ETIMEDOUT and any(map(self.oracle.may_have_lost, notes.nodes)):
            return  # of what was written before this was opened, and nobody was told of (P6)
        self.oracle.explain(call, problem)

    def _may_be_stale(self, notes: FileNotes) -> bool:
        """Whether a reset may have found the file another than it was: others changed it, or its name."""
        if not any(at >= notes.low for at in self.oracle.cuts) and not notes.from_memory:
            return False
        for node in notes.nodes:
            if not node.nlink or self.oracle.track(node).foreign_at >= notes.low - 1.0:
                return True
            if any(version.by == "other" and version.at >= notes.low for version in node.versions):
                return True
        return len(notes.nodes) != 1 or self.oracle.names_changed_since(notes)

    def _others_reported(self, notes: FileNotes) -> bool:
        """Whether what another descriptor of the file wrote meanwhile may have failed, which a reset found to
        be of another file: every one that is open for writing is told (P3)."""
        return notes.flags & os.O_ACCMODE != os.O_RDONLY and any(
            other is not notes and other.writes and self._may_be_stale(other)
            for track in map(self.oracle.track, notes.nodes)
            if track.written_since(notes.opened)
            for other in track.opens
        )

    async def _read_all(self, file: KFile, notes: FileNotes, chunk: int) -> bytes | None:
        pieces = []
        position = 0
        while True:
            start, moment = self.oracle.disk.now(), self.oracle.history.moment + 1
            data, problem = await self._on_file("read", notes, self.kernel.read(file, position, chunk))
            if problem is not None:
                return None
            self._check_read(notes, position, chunk, data, start, moment)
            pieces.append(data)
            position += len(data)
            if len(data) < chunk:
                return b"".join(pieces)

    def _check_read(
        self, notes: FileNotes, offset: int, size: int, data: bytes, start: float, moment: int
    ) -> None:
        reasons = [
            self.oracle.track(node).readable(offset, size, data, start, notes.low, moment)
            for node in notes.nodes
        ]
        reasons += [
            self.oracle.track(node).readable(offset, size, beneath, start, notes.low, moment)
            for node, beneath in notes.beneath_twins(offset, data)
        ]
        if None not in reasons and not any(map(self.oracle.may_have_lost, notes.nodes)):
            names = ", ".join(self.oracle._names(node) for node in notes.nodes)
            raise Lie(f"a read of {names} at {offset}: {'; '.join(map(str, reasons))}")

    async def _write(self, file: KFile, notes: FileNotes, offset: int | None, data: bytes) -> bool:
        count, problem = await self._on_file("write", notes, self.kernel.write(file, offset, data))
        if problem is not None or count < len(data):
            for node in notes.nodes:
                self.oracle.track(node).exact = False
        elif file.flags & (os.O_SYNC | os.O_DIRECT) and offset is not None:
            self._through(notes, file.flags, offset, data)
        return problem is None

    def _through(self, notes: FileNotes, flags: int, offset: int, data: bytes) -> None:
        """D3, F8: such a write is on the server when it returns, and with O_SYNC on its disk."""
        node = notes.sure
        if node is None:
            return
        track = self.oracle.track(node)
        if not track.exact or track.lossy or track.busy(self.oracle):
            return
        end = offset + len(data)
        kept = node.durable[0] if flags & os.O_SYNC == os.O_SYNC else node.content
        if kept[offset:end] != data or node.content[offset:end] != data:
            raise Lie(f"a write through to {self.oracle._names(node)} returned before it was there (D3, F8)")

    async def _close(self, file: KFile, notes: FileNotes, child: bool = False) -> None:
        """close(2); ``child``: of a descriptor another process inherited, which looks at no result."""
        reported, moment = notes.reported, self.oracle.history.moment
        if not child:
            self.opened.pop(file, None)
        _, problem = await self._on_file("close", notes, self.kernel.close(file))
        if child:
            notes.reported = reported
        elif problem is None:
            self._acknowledged(notes, "close", moment)

    async def _fsync(self, file: KFile, notes: FileNotes) -> None:
        moment = self.oracle.history.moment
        _, problem = await self._on_file("fsync", notes, self.kernel.fsync(file))
        if problem is None:
            if notes.owed:
                names = self.oracle._names(notes.nodes.copy().pop())
                raise Lie(f"fsync of {names} returned 0 though the server lost its power since the write")
            self._acknowledged(notes, "fsync", moment)

    def _acknowledged(self, notes: FileNotes, what: str, moment: int) -> None:
        """P2: what was written before is on the server, or an error was told."""
        node = notes.sure
        if node is None or notes.reported or (what == "close" and notes.flags & os.O_ACCMODE == os.O_RDONLY):
            return
        track = self.oracle.track(node)
        if not track.views or not track.exact or track.busy(self.oracle):
            return
        if track.views[-1].acknowledged >= moment:
            return  # written meanwhile: that may still be on its way
        if what == "close" and self.oracle.may_have_lost(node) and track.holds_since(notes.opened):
            return  # written before it was opened: who wrote it is told, and who asks by fsync (P3, P6)
        if len(self.oracle.twins.of(node)) > 1:
            return  # it may be in the other
        names = self.oracle._names(node)
        if node.content != track.view:
            raise Lie(f"{what} of {names} returned 0: {_lacking(node.content, track.view)} (P2)")
        if what == "fsync" and node.durable[0] != track.view:
            raise Lie(f"fsync of {names} returned 0 before the last bytes were brought to disk (D2)")
        reason = None if track.lossy else track.dates.unlike(node.mtime, moment)
        if reason is not None:
            raise Lie(f"{what} of {names} returned 0; {reason}")

    # -- verbs -----------------------------------------------------------------------

    async def read(self, path: str, chunk: int = 65536) -> None:
        """Open, read to the end, close."""
        opened = await self._open(path, os.O_RDONLY)
        if opened is None:
            return
        data = await self._read_all(*opened, chunk)
        node = opened[1].sure
        if data is not None and node is not None:
            track = self.oracle.track(node)
            reason = track.unlike_a_log(data, opened[1].low) if track.log and not track.lossy else None
            if reason is not None:
                raise Lie(f"a read of {self.oracle._names(node)}: {reason}")
        await self._close(*opened)

    async def write(self, path: str, how: str, tag: str, size: int, sync: bool = False) -> None:
        """Open as ``how`` says, write, close."""
        opened = await self._open(path, FLAGS[how])
        if opened is None:
            return
        if await self._write(*opened, 0, content(tag, size)) and sync:
            await self._fsync(*opened)
        await self._close(*opened)

    async def save(self, path: str, tag: str, size: int) -> None:
        """Write beside and rename over, as editors do."""
        await self.write(path + "~", "w", tag, size)
        await self.rename(path + "~", path)

    async def open(self, slot: str, path: str, how: str) -> None:
        if slot in self.slots:
            await self.close(slot)
        opened = await self._open(path, FLAGS[how])
        if opened is not None:
            self.slots[slot] = opened

    async def pread(self, slot: str, offset: int, size: int) -> None:
        if slot not in self.slots:
            return
        file, notes = self.slots[slot]
        if file.flags & os.O_ACCMODE == os.O_WRONLY:
            return
        start, moment = self.oracle.disk.now(), self.oracle.history.moment + 1
        data, problem = await self._on_file("read", notes, self.kernel.read(file, offset, size))
        if problem is None:
            self._check_read(notes, offset, size, data, start, moment)

    async def pwrite(self, slot: str, offset: int, tag: str, size: int) -> None:
        if slot in self.slots and self.slots[slot][0].flags & os.O_ACCMODE != os.O_RDONLY:
            await self._write(*self.slots[slot], offset, content(tag, size))

    async def fsync(self, slot: str) -> None:
        if slot in self.slots:
            await self._fsync(*self.slots[slot])

    async def ftruncate(self, slot: str, size: int) -> None:
        if slot in self.slots and self.slots[slot][0].flags & os.O_ACCMODE != os.O_RDONLY:
            file, notes = self.slots[slot]
            await self._on_file("ftruncate", notes, self.kernel.ftruncate(file, size), size=size)

    async def futime(self, slot: str, when: int) -> None:
        if slot in self.slots:
            file, notes = self.slots[slot]
            for node in notes.nodes:
                self.oracle.times.setdefault(node, set()).add(when)
            dating = Dating(self.oracle, notes.nodes)
            work = self.kernel.setattr(file.node, mtime=when, atime=when)
            _, problem = await self._on_file("futime", notes, work, value=when)
            dating.ended(notes.nodes, when if problem is None else None)

    async def child(self, slot: str) -> None:
        """A child inherits the descriptor, runs another program and ends."""
        if slot in self.slots:
            file, notes = self.slots[slot]
            file.descriptors += 1
            await self._close(file, notes, child=True)

    async def close(self, slot: str) -> None:
        if slot in self.slots:
            await self._close(*self.slots.pop(slot))

    async def trickle(self, slot: str, offset: int, tag: str, size: int, times: int, pause: float) -> None:
        """Write again and again, ``pause`` seconds apart."""
        for index in range(times):
            await self.pwrite(slot, offset + index * size, f"{tag}.{index}", size)
            await trio.sleep(pause)

    async def reborn(self) -> None:
        """The program was killed: the kernel closes what it had open, and it begins anew."""
        self.process = Process()
        process.set(self.process)
        files, self.opened, self.slots = self.opened, {}, {}
        for file, notes in files.items():
            await self._close(file, notes, child=True)
        if self.base is not self.kernel.root:
            self.base.opens -= 1
            self.base, self.bases = self.kernel.root, {self.root}

    async def finish(self) -> None:
        """The program ends: what it has open is closed."""
        for slot in list(self.slots):
            await self.close(slot)


def _lacking(got: bytes, wanted: bytes) -> str:
    at = first_difference(got, wanted)
    return f"{len(got)} bytes are on the server, {len(wanted)} were written; the first that differs is {at}"
