"""No module of lina imports itself by way of others, imports inside functions and for type checkers included."""

import graphlib

import grimp
import pytest


def imports_of(package: str) -> dict[str, set[str]]:
    graph = grimp.build_graph(package)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def test_there_is_no_import_cycle() -> None:
    graphlib.TopologicalSorter(imports_of("lina")).prepare()


def test_a_planted_cycle_is_found() -> None:
    imports = imports_of("lina")
    imports["lina.core.errors"] = imports["lina.core.errors"] | {"lina.core.state"}
    with pytest.raises(graphlib.CycleError, match=r"lina\.core\.state"):
        graphlib.TopologicalSorter(imports).prepare()
