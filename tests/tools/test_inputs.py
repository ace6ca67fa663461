# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a step depends on: its paths, what its tests import, and the machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from checks import PYTHON, STEPS
from collection_tree import ROOT
from inputs import Tree, machine

HERE = "ansible_collections.gpufleet.sharing"
FILES = {
    "plugins/module_utils/_kube/client.py": "",
    "tests/conftest.py": "",
    "tests/one/conftest.py": "import beside\n",
    "tests/one/test_a.py": f"from {HERE}.tests.shared.tools import (\n    Lab,  # a class\n)\n",
    "tests/one/test_b.py": "def test() -> None:\n    import other\n",
    "tests/one/test_c.py": f'RUN = """\nfrom {HERE}.plugins.module_utils._kube import client"""',
    "tests/one/beside.py": "from .package import inner\n",
    "tests/one/package/__init__.py": "",
    "tests/one/package/inner.py": "from ..deep import x\n",
    "tests/one/deep.py": "",
    "tests/two/other.py": "",
    "tests/two/conftest.py": "",
    "tests/shared/tools.py": f"from {HERE}.tests.shared import more\n",
    "tests/shared/more.py": "from __future__ import annotations\n",
    "docs/page.md": "",
}
EACH = {
    *("tests/conftest.py", "tests/one/conftest.py", "tests/one/beside.py", "tests/one/deep.py"),
    *("tests/one/package/__init__.py", "tests/one/package/inner.py"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Tree(tmp_path, tuple(FILES))


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (["."], set(FILES)),
        (["tests/two"], {"tests/two/other.py", "tests/two/conftest.py"}),
        (["tests/tw"], set()),
        (["docs/page.md", "*/client.py"], {"docs/page.md", "plugins/module_utils/_kube/client.py"}),
    ],
)
def test_select(tree: Tree, patterns: list[str], chosen: set[str]) -> None:
    assert tree.select(patterns) == chosen


@pytest.mark.parametrize(
    ("test", "imported"),
    [
        ("tests/one/test_a.py", {"tests/shared/tools.py", "tests/shared/more.py"}),
        ("tests/one/test_b.py", {"tests/two/other.py", "tests/two/conftest.py"}),
        ("tests/one/test_c.py", {"plugins/module_utils/_kube/client.py"}),
    ],
    ids=["indirect", "inside-a-function", "inside-a-string"],
)
def test_imported(tree: Tree, test: str, imported: set[str]) -> None:
    assert tree.imported([test]) == {test, *imported, *EACH}


@pytest.mark.parametrize("helper", ["tests/shared/more.py", "tests/one/package/inner.py"])
def test_change_of_an_imported_helper_changes_the_digest(tree: Tree, helper: str) -> None:
    before = tree.digest(tree.imported(["tests/one/test_a.py"]))
    other = tree.digest(tree.imported(["tests/one/test_b.py"]))
    with (tree.root / helper).open("a") as file:
        file.write("X = 1\n")
    assert tree.digest(tree.imported(["tests/one/test_a.py"])) != before
    assert (tree.digest(tree.imported(["tests/one/test_b.py"])) == other) == ("shared" in helper)


def test_digest_knows_names_and_missing_files(tree: Tree) -> None:
    digest = tree.digest(["docs/page.md"])
    assert digest != tree.digest(["tests/one/deep.py"])  # as empty, under another name
    (tree.root / "docs/page.md").unlink()
    assert tree.digest(["docs/page.md"]) != digest


def test_helpers_of_real_steps_are_among_their_inputs() -> None:
    tree = Tree.of(ROOT)
    found = tree.imported(["tests/integration/test_killed.py"])
    assert {f"tests/integration/{name}.py" for name in ("conftest", "labtools", "killing")} <= found
    found = tree.imported(tree.select(["tests/lab/tests"]))
    assert {"tests/lab/tests/labclient.py", "tests/lab/gpulab/process.py"} <= found


def test_inputs_of_steps_exist() -> None:
    tree = Tree.of(ROOT)
    for step in STEPS:
        assert not [each for each in step.inputs if not tree.select([each])], step.name


def test_machine_has_versions_variables_and_programs(tmp_path: Path) -> None:
    program = tmp_path / "helm"
    program.write_text("one")

    def told(**environ: str) -> tuple[str, ...]:
        return machine(environ, lambda name: str(program) if name == "helm" else None)

    first = told(HOME="/root")
    assert told(HOME="/home/other") == first
    assert any(each.startswith("pytest==") for each in first)
    assert set(told(FAULTS="all")) - set(first) == {"FAULTS=all"}
    program.write_text("another")
    assert told() != first


@pytest.mark.parametrize("processes", ["0", "2"])
def test_files_that_tests_read_are_noted(tmp_path: Path, processes: str) -> None:
    """The source of a module that was loaded in its compiled form, too."""
    noted = tmp_path / "reads"
    test = "tests/tools/test_collection_tree.py"
    subprocess.run(
        [
            PYTHON,
            "-m",
            "pytest",
            "-q",
            "-n",
            processes,
            f"{test}::test_link_dependency_is_repeatable",
        ],
        cwd=ROOT,
        env={**os.environ, "GPUFLEET_READS": str(noted)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    found = set(noted.read_text().splitlines())
    assert {test, "tests/tools/collection_tree.py"} <= found
    assert not [name for name in found if name.startswith("/") or "__pycache__" in name]
