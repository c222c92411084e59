"""``sftpfs status [MNT]``."""

from __future__ import annotations

import time
from argparse import Namespace

from sftpfs.cli.tools.ask_mounts import ask
from sftpfs.cli.tools.human_format import clock, duration, latency, number, plural, share, size
from sftpfs.cli.tools.write_back import HIDDEN, hidden
from sftpfs.control.protocol import Values
from sftpfs.host.logs import DEFAULT, printable


def run(given: Namespace) -> int:
    """Show one mount, or all."""
    found, status = ask("status", given.mnt)
    if not found and not status:
        print("you have no mounts of sftpfs")
    if found:
        print("\n\n".join(describe(values) for values in found))
    return status


def describe(values: Values) -> str:
    """The lines of one mount."""
    lost = _anything_lost(values)
    rows = [
        ("mounted", f"{duration(time.time() - values['since'])} ago, {clock(values['since'])}"),
        ("process", f"{values['pid']}, sftpfs {values['version']}"),
        ("server", _server(values)),
        *(("this server", f"{lacks}: {seen}") for lacks, seen in values["pool"].get("traits", {}).items()),
        ("connections", _connections(values)),
        ("traffic", _traffic(values)),
        *([("limit", limit)] if (limit := _limit(values["pool"])) else []),
        ("names", _names(values["mount"])),
        ("content", _content(values["mount"], values["limits"])),
        ("written", _written(values["mount"], lost)),
        *([("lost", _lost(lost, hidden(values)))] if lost else []),
        *([("log", _log(values))] if values.get("log_level", DEFAULT) != DEFAULT else []),
        ("last problem", _problem(values)),
    ]
    lines = [f"{values['server']} on {values['mountpoint']}"]
    lines += [f"  {label:<13} {text}" for label, text in rows]
    return "\n".join(printable(line) for line in lines)


def summary(values: Values) -> list[str]:
    """What a person wants to know of a mount, from its counters alone."""
    lost = _anything_lost(values)
    rows = [
        f"{values['server']} on {values['mountpoint']} for {duration(time.time() - values['since'])}",
        _connections(values),
        _traffic(values),
        _content(values["mount"], values["limits"]),
        _written(values["mount"], lost),
        *([f"lost: {_lost(lost, hidden(values))}"] if lost else []),
        f"last problem: {_problem(values)}",
    ]
    return [printable(row) for row in rows]


def _anything_lost(values: Values) -> Values:
    lost: Values = values.get("lost", {})  # a mount made before an upgrade tells nothing of it
    return lost if lost.get("pieces") else {}


def _server(values: Values) -> str:
    if values["ping"] is not None:
        best = [one["minimum_latency"] for one in values["pool"]["connections"]]
        least = min((each for each in best if each is not None), default=None)
        return f"answers in {latency(values['ping'])} (at best {latency(least)})"
    lost_for = values["pool"]["lost_for"]
    if lost_for is not None:
        return f"out of reach for {duration(lost_for)}; being connected again"
    reason = values["no_ping"]
    return f"answers with an error: {reason}" if reason else "connected, but gives no answer"


def _connections(values: Values) -> str:
    pool = values["pool"]
    each = [f"{one['kind']} for {duration(one['age'])}" for one in pool["connections"]]
    text = f"{len(each)} of at most {pool['maximum']}"
    if each:
        text += f": {', '.join(each)}"
    if pool["reconnects"]:
        text += f"; made again {plural(pool['reconnects'], 'time')}"
    return text


def _traffic(values: Values) -> str:
    total = values["pool"]["total"]
    requests = plural(sum(total["requests"].values()), "request")
    return f"{size(total['bytes_received'])} received, {size(total['bytes_sent'])} sent, {requests}"


def _limit(pool: Values) -> str:
    """The limit of content; empty if none was set."""
    bandwidth = pool.get("bandwidth", {})  # a mount made before an upgrade has none
    ways = (("up", "to the server"), ("down", "from it"))
    return ", ".join(f"{size(bandwidth[way])}/s {text}" for way, text in ways if bandwidth.get(way))


def _names(mount: Values) -> str:
    inodes, listings = plural(mount["inodes"], "file"), plural(mount["listings"], "listing")
    return f"{inodes} known to the kernel, {listings} kept"


def _content(mount: Values, limits: Values) -> str:
    reads = mount["chunk_hits"] + mount["chunk_misses"]
    return (
        f"{size(mount['cached_bytes'])} of at most {size(limits['cached_bytes'])} kept, "
        f"{share(mount['chunk_hits'], reads)} of {number(reads)} reads answered from it"
    )


def _written(mount: Values, lost: Values) -> str:
    if not mount["dirty_files"]:
        return "all but what is lost is on the server" if lost else "all is on the server"
    return f"{size(mount['dirty_bytes'])} in {plural(mount['dirty_files'], 'file')} not on the server yet"


def _lost(lost: Values, under: bool) -> str:
    pieces, files = plural(lost["pieces"], "piece"), plural(lost["files"], "file")
    what = f"{pieces} of {files} ({size(lost['bytes'])}) since the mount, in {lost['directory']}"
    return f"{what}; {HIDDEN if under else 'sftpfs restore lists them and writes them back'}"


def _log(values: Values) -> str:
    return f"level {values['log_level']}; as it was mounted again: sftpfs log --level {DEFAULT}"


def _problem(values: Values) -> str:
    problem = values["problem"]
    return f"{clock(problem['at'])} {problem['text']}" if problem else "none"
