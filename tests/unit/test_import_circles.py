"""No circle of modules within a room, not even one that only a TYPE_CHECKING block or a late import hides.

The import walls in pyproject.toml leave out imports that are made for types alone.
"""

from __future__ import annotations

import grimp
import pytest

GROUPS = ("choosing", "exporting", "keeping", "looking", "running", "scoring", "studying")
COMMANDS = [f"engine.cli.{name} -> engine.cli.*" for name in GROUPS]
"""The late imports of the modules that declare commands."""


@pytest.fixture
def graph() -> grimp.ImportGraph:
    graph = grimp.build_graph("engine", exclude_type_checking_imports=False)
    # A config builds its network and a command calls what does it, which nothing else does: both are imported
    # late, and know their caller by the type of what it hands over.
    for calls in ("engine.models.*.config -> engine.models.*.network", *COMMANDS):
        for found in graph.find_matching_direct_imports(calls):
            graph.remove_import(importer=found["importer"], imported=found["imported"])
    return graph


def circles(graph: grimp.ImportGraph) -> dict[str, set[tuple[str, str]]]:
    """Package -> the imports without which its modules would know each other in one direction only."""
    packages = [module for module in graph.modules if module != "engine" and graph.find_children(module)]
    found = {package: graph.nominate_cycle_breakers(package) for package in packages}
    return {package: breakers for package, breakers in found.items() if breakers}


def test_no_room_has_a_circle(graph: grimp.ImportGraph) -> None:
    assert circles(graph) == {}


def test_a_circle_would_be_found(graph: grimp.ImportGraph) -> None:
    graph.add_import(importer="engine.store.errors", imported="engine.store.store")
    assert list(circles(graph)) == ["engine.store"]
