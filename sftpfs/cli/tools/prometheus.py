"""Statistics in Prometheus's text format (exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sftpfs.histogram import BOUNDS


class Metric(NamedTuple):
    """One counter or gauge of the mount's own statistics."""

    name: str
    kind: str
    help: str
    key: str


METRICS = (
    Metric("sftpfs_inodes", "gauge", "Files the kernel knows.", "inodes"),
    Metric("sftpfs_listings", "gauge", "Complete listings kept.", "listings"),
    Metric("sftpfs_chunk_hits_total", "counter", "Reads of a chunk answered from memory.", "chunk_hits"),
    Metric("sftpfs_chunk_misses_total", "counter", "Reads of a chunk that asked the server.", "chunk_misses"),
    Metric("sftpfs_chunk_evictions_total", "counter", "Chunks dropped to make room.", "chunk_evictions"),
    Metric("sftpfs_cached_bytes", "gauge", "Clean content kept.", "cached_bytes"),
    Metric("sftpfs_dirty_bytes", "gauge", "Written and not yet acknowledged by the server.", "dirty_bytes"),
    Metric("sftpfs_dirty_files", "gauge", "Files with such.", "dirty_files"),
    *(
        Metric(
            f"sftpfs_{what}_ahead_{fate}{unit}_total", "counter", f"{text}, {fate}.", f"{key}_{fate}{unit}"
        )
        for what, key, unit, text in (
            ("read", "read_ahead", "_bytes", "Content asked for ahead of a reader"),
            ("files", "files_ahead", "_bytes", "Small files asked for ahead"),
            ("listings", "listings_ahead", "", "Listings asked for ahead"),
            ("renewals", "renewed_ahead", "", "Listings asked ahead whether they are still true"),
        )
        for fate in ("issued", "used", "wasted")
    ),
)


def exposition(mounts: list[dict[str, Any]]) -> str:
    """The text for ``mounts``, values of the request ``statistics``."""
    return "\n".join(_lines(mounts)) + "\n"


def _lines(mounts: list[dict[str, Any]]) -> Iterator[str]:
    yield from _head("sftpfs_connected", "gauge", "1 while the server can be asked.")
    for one in mounts:
        yield _sample("sftpfs_connected", one, int(one["pool"]["lost_for"] is None))
    yield from _head("sftpfs_start_time_seconds", "gauge", "When it was mounted, since 1970.")
    for one in mounts:
        yield _sample("sftpfs_start_time_seconds", one, one["since"])
    yield from _head("sftpfs_connections", "gauge", "Connections to the server.")
    for one in mounts:
        yield _sample("sftpfs_connections", one, len(one["pool"]["connections"]))
    yield from _head("sftpfs_reconnects_total", "counter", "Lost connections made again.")
    for one in mounts:
        yield _sample("sftpfs_reconnects_total", one, one["pool"]["reconnects"])
    for direction in ("received", "sent"):
        name = f"sftpfs_{direction}_bytes_total"
        yield from _head(name, "counter", f"Bytes {direction}, before encryption.")
        for one in mounts:
            yield _sample(name, one, one["pool"]["total"][f"bytes_{direction}"])
    for metric in METRICS:
        yield from _head(metric.name, metric.kind, metric.help)
        for one in mounts:
            yield _sample(metric.name, one, one["mount"][metric.key])
    yield from _head("sftpfs_lost_bytes", "gauge", "Written, not taken by the server, not acknowledged.")
    for one in mounts:
        yield _sample("sftpfs_lost_bytes", one, one.get("lost", {}).get("bytes", 0))  # 0 before an upgrade
    yield from _head("sftpfs_misses_total", "counter", "Names, listings, content asked for, by reason.")
    for one in mounts:
        for what, reasons in sorted(one.get("misses", {}).items()):  # none before an upgrade
            for reason, count in sorted(reasons.items()):
                yield _sample("sftpfs_misses_total", one, count, kind=what, reason=reason)
    yield from _head("sftpfs_requests_total", "counter", "Requests sent to the server.")
    for one in mounts:
        for kind, count in sorted(one["pool"]["total"]["requests"].items()):
            yield _sample("sftpfs_requests_total", one, count, kind=kind)
    yield from _head("sftpfs_request_duration_seconds", "histogram", "From a request to its reply.")
    for one in mounts:
        for kind, histogram in sorted(one["pool"]["total"]["latencies"].items()):
            yield from _histogram("sftpfs_request_duration_seconds", one, kind, histogram)


def _head(name: str, kind: str, help: str) -> Iterator[str]:
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} {kind}"


def _histogram(name: str, mount: dict[str, Any], kind: str, histogram: dict[str, Any]) -> Iterator[str]:
    seen = 0
    for bound, count in zip(BOUNDS, histogram["counts"], strict=False):
        seen += count
        yield _sample(f"{name}_bucket", mount, seen, kind=kind, le=f"{bound:.6g}")
    total = sum(histogram["counts"])
    yield _sample(f"{name}_bucket", mount, total, kind=kind, le="+Inf")
    yield _sample(f"{name}_sum", mount, histogram["seconds"], kind=kind)
    yield _sample(f"{name}_count", mount, total, kind=kind)


def _sample(name: str, mount: dict[str, Any], value: float, **labels: str) -> str:
    named = {"mountpoint": mount["mountpoint"], "server": mount["server"], **labels}
    inside = ",".join(f'{label}="{_escaped(str(text))}"' for label, text in named.items())
    return f"{name}{{{inside}}} {value:.15g}"


def _escaped(text: str) -> str:
    """A label's value: with the format's escapes, and without what UTF-8 does not have."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
