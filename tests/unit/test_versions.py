# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An execution environment that is too old is refused at once, with the versions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from ansible_collections.gpufleet.sharing.plugins.filter.supported import FilterModule
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.versions import (
    CORE,
    PYTHON,
    VersionError,
    check_versions,
)
from ansible_collections.gpufleet.sharing.tests.unit.ansible_runs import (
    ROOT,
    group,
    run_playbook,
    write_hosts,
)
from ansible_collections.gpufleet.sharing.tests.unit.ansible_versions import old_python, programs
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

OLD = (3, 9)
PLUGINS = sorted(
    path for kind in ("action", "filter", "modules") for path in ROOT.glob(f"plugins/{kind}/*.py")
)
PLAYBOOKS = sorted(ROOT.glob("playbooks/*.yml"))


@pytest.mark.parametrize("core", ["2.18.0", "2.18.0rc1", "2.19.14", "2.22.0.dev0", "3.0.0"])
def test_versions_that_are_supported(core: str) -> None:
    check_versions(core, (3, 11, 0))
    check_versions(core, (3, 14, 1))


@pytest.mark.parametrize(
    ("core", "python"),
    [("2.15.13", (3, 9, 18)), ("2.17.14", (3, 12, 1)), ("2.19.1", (3, 10, 13)), ("1.9", (3, 11))],
)
def test_versions_that_are_too_old(core: str, python: tuple[int, ...]) -> None:
    with pytest.raises(VersionError) as refused:
        check_versions(core, python)
    found = ".".join(map(str, python))
    assert mentions(str(refused.value), "2.18", "3.11", core, found, "AWX")


def test_supported_versions_are_said_alike() -> None:
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text("utf-8"))
    assert runtime["requires_ansible"] == f">={CORE[0]}.{CORE[1]}.0"
    assert PYTHON == (3, 11)  # as in doc_fragments/common.py, which test_collection.py reads
    assert FilterModule().filters()["supported"]("x.yml") == "x.yml"


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_plugin_checks_versions_before_it_imports_what_needs_them(path: Path) -> None:
    """An old Python must be able to read it as far as that."""
    tree = ast.parse(path.read_text("utf-8"), feature_version=OLD)
    code = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom | ast.Expr)]
    first = [
        ast.unparse(node)
        for node in code
        if not isinstance(getattr(node, "value", None), ast.Constant)
    ]
    if path.stem == "supported":
        assert [line for line in first if "_common" in line] == [
            "from ..module_utils._common.versions import VersionError, check_versions"
        ]
        return
    assert first[:3] == [
        "from __future__ import annotations",
        "from ..module_utils._common.versions import check_versions",
        "check_versions()",
    ]


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_playbook_checks_versions_before_its_tasks_are_read(path: Path) -> None:
    first, *_others = yaml.safe_load(path.read_text("utf-8"))
    task, *_after = first["tasks"]
    assert "| gpufleet.sharing.supported" in task["ansible.builtin.import_tasks"]
    assert "pre_tasks" not in first
    assert "roles" not in first


@pytest.mark.parametrize("playbook", ["site", "validate"])
def test_ansible_that_is_too_old(playbook: str, tmp_path: Path) -> None:
    inventory = write_hosts(tmp_path, {"dev_gpus": group("n1")})
    tools = programs("core-2.15", old_python())
    run = run_playbook(f"gpufleet.sharing.{playbook}", inventory, tools=tools)
    assert run.code != 0
    (error,) = run.text.split("ERROR!")[1:]
    assert mentions(error, "2.15.13", "2.18", "3.11", "AWX")
