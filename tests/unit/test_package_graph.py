# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private packages of plugins/ depend on each other in one direction only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
ABSOLUTE = "ansible_collections.gpufleet.sharing"
#: What each private package of module_utils may import. A package that is not listed fails.
BELOW = {
    "_common": set[str](),
    "_kube": {"_common"},
    "_profiles": {"_common", "_kube"},
    "_nodes": {"_common", "_kube", "_profiles"},
    "_fleet": {"_common", "_kube", "_profiles", "_nodes"},
    "_provider": {"_common", "_kube", "_profiles", "_nodes"},
    "_rollout": {"_common", "_kube", "_profiles", "_nodes", "_fleet", "_provider"},
    "_probe": {"_common", "_kube", "_profiles", "_nodes", "_fleet", "_provider"},
    "_access": {"_common", "_kube", "_probe"},
    "_doctor": {"_common", "_kube", "_profiles", "_nodes", "_fleet", "_provider", "_rollout"},
}
#: Packages that decide and never talk HTTP or import Ansible: what they may import from _kube.
PURE = ("_profiles", "_nodes", "_fleet")


def own_imports(file: Path) -> Iterator[tuple[str, list[str]]]:
    """The modules of this collection that a file imports from, below plugins, and the names."""
    package = file.relative_to(PLUGINS).parent.parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) - node.level + 1]
            yield ".".join([*above, *filter(None, [node.module])]), [a.name for a in node.names]


def imports(file: Path) -> Iterator[str]:
    """The modules of this collection that a file imports, such as module_utils._kube.lease."""
    for module, names in own_imports(file):
        for name in names:
            submodule = PLUGINS.joinpath(*module.split("."), f"{name}.py")
            yield f"{module}.{name}" if submodule.exists() else module


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(PLUGINS).with_suffix("").parts)


def package_of(module: str) -> str:
    return module.split(".")[1]


FILES = sorted(PLUGINS.rglob("*.py"))
PRIVATE = [file for file in FILES if module_of(file).startswith("module_utils.")]


def test_every_package_is_listed() -> None:
    assert {package_of(module_of(file)) for file in PRIVATE} == set(BELOW)


def test_no_helper_stands_outside_a_package() -> None:
    assert [file.name for file in (PLUGINS / "module_utils").glob("*.py")] == []


@pytest.mark.parametrize("package", BELOW)
def test_arrows_point_down(package: str) -> None:
    wrong = [
        f"{module_of(file)} imports {module}"
        for file in PRIVATE
        if package_of(module_of(file)) == package
        for module in imports(file)
        if not module.startswith("module_utils.")
        or package_of(module) not in BELOW[package] | {package}
    ]
    assert wrong == []


def test_order_has_no_cycle() -> None:
    """The table itself runs in one direction."""
    done: set[str] = set()
    for package, below in BELOW.items():
        assert below <= done, package
        done.add(package)


def test_modules_do_not_import_each_other() -> None:
    graph = {module_of(file): set(imports(file)) for file in FILES}
    for start, direct in graph.items():
        seen, left = set[str](), list(direct)
        while left:
            module = left.pop()
            assert module != start, f"{start} imports itself through others"
            if module not in seen:
                seen.add(module)
                left += graph.get(module, ())


def test_controller_code_is_not_used_by_modules() -> None:
    for file in FILES:
        if module_of(file).startswith(("modules.", "module_utils.")):
            assert [name for name in imports(file) if name.startswith("plugin_utils.")] == []


@pytest.mark.parametrize("package", PURE)
def test_pure_packages_import_neither_ansible_nor_http(package: str) -> None:
    for file in (PLUGINS / "module_utils" / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                foreign = name.split(".")[0] in ("ansible", "kubernetes", "urllib3")
                assert not foreign, f"{file.name} imports {name}"
        assert "module_utils._kube.client" not in imports(file), file.name


def test_private_names_stay_in_their_module() -> None:
    for file in FILES:
        for module, names in own_imports(file):
            folder = PLUGINS.joinpath(*module.split("."))
            private = [n for n in names if n.startswith("_") and not (folder / n).is_dir()]
            assert [n for n in private if not (folder / f"{n}.py").exists()] == [], file.name


def test_imports_within_the_collection_are_relative() -> None:
    for file in FILES:
        assert f"from {ABSOLUTE}" not in file.read_text(), file.name
