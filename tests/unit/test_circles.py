"""No modules and no folders of sftpfs import each other in a circle, also not for types alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.test_layering import FILES, inner_imports, module_of

Graph = dict[str, set[str]]

IMPORTS: Graph = {module_of(path): inner_imports(path) for path in FILES}
"""Module → the modules it imports, anywhere in it; ``if TYPE_CHECKING`` counts as well."""

KNOWN: set[frozenset[str]] = set()
"""Circles that are still there. May only shrink."""


def circles(graph: Graph) -> Iterator[frozenset[str]]:
    """Each largest set of nodes of which every one leads to every other."""
    reached = {node: _from(graph, node) for node in graph}
    seen: set[str] = set()
    for node in sorted(graph):
        if node in seen:
            continue
        circle = {other for other in reached[node] if node in reached.get(other, ())}
        seen |= circle
        if circle:
            yield frozenset(circle)


def _from(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for other in graph.get(waiting.pop(), ()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def rooms(graph: Graph, folder: str) -> Graph:
    """What is in ``folder``, its modules and the folders below it each as one; who imports from whom."""
    depth = folder.count(".") + 1 if folder else 0
    within = {
        module: ".".join(module.split(".")[: depth + 1])
        for module in graph
        if not folder or module.startswith(folder + ".")
    }
    return {
        room: {
            within[other]
            for module, its in within.items()
            if its == room
            for other in graph[module]
            if other in within and within[other] != room
        }
        for room in set(within.values())
    }


FOLDERS = sorted({"", *(module.rpartition(".")[0] for module in IMPORTS)})


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert set(circles(IMPORTS)) == KNOWN


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_folders_import_each_other_in_a_circle(folder: str) -> None:
    assert not list(circles(rooms(IMPORTS, folder)))


def test_the_test_of_circles_would_notice() -> None:
    graph: Graph = {"a.x": {"b.y"}, "b.y": {"c"}, "b.z": {"a.x"}, "c": set()}
    assert not list(circles(graph))
    assert list(circles(rooms(graph, ""))) == [frozenset({"a", "b"})]
    assert list(circles(graph | {"c": {"a.x"}})) == [frozenset({"a.x", "b.y", "c"})]
