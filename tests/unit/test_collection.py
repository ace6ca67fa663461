# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's own description of itself: what it lists and what is there agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.gpufleet.sharing.plugins.doc_fragments.common import ModuleDocFragment

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").glob("*") if path.is_dir())


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_action_group_holds_every_module_and_nothing_else() -> None:
    metadata, *members = load("meta/runtime.yml")["action_groups"]["all"]
    assert metadata == {"metadata": {"extend_group": ["kubernetes.core.k8s"]}}
    without_connection = {"assignment_info", "report"}
    assert sorted(members) == [name for name in MODULES if name not in without_connection]


def test_strategies_of_plays_whatever_the_configuration_says() -> None:
    """Plays that talk to clusters do not wait for each other. What is done once needs the strategy
    linear: with others it is done for each host.
    """
    plays = [
        play for path in sorted((ROOT / "playbooks").glob("*.yml")) for play in load(str(path))
    ]
    ours = [play for play in plays if "hosts" in play]
    assert len(ours) == 12
    for play in ours:
        preflight = ("tasks/cluster.yml", "'gpufleet.sharing.gpu_preflight', 'public'")
        talks = any(text in str(play) for text in preflight)
        assert play["strategy"] == ("host_pinned" if talks else "linear"), play["name"]
        assert not (talks and "run_once" in str(play)), play["name"]


def test_galaxy_tags_are_legal() -> None:
    tags = load("galaxy.yml")["tags"]
    assert len(tags) == len(set(tags)) <= 20
    assert all(tag.isalnum() and tag.islower() for tag in tags)


def test_dependencies_have_lower_bounds_only() -> None:
    assert all(bound.startswith(">=") for bound in load("galaxy.yml")["dependencies"].values())


def test_lower_bounds_of_python_packages_are_said_alike() -> None:
    """For ansible-builder, in the modules' documentation and in the README."""
    lines = (ROOT / "meta/ee-requirements.txt").read_text().splitlines()
    bounds = [line.replace(">=", " >= ") for line in lines if not line.startswith("#")]
    fragment = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)
    python, *documented = fragment["requirements"]
    assert python == "python >= 3.11"
    assert documented == bounds
    readme = (ROOT / "README.md").read_text()
    assert f"| {', '.join(bounds)} |" in readme


def test_paths_of_the_installed_collection_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"ansible_collections/gpufleet/sharing/([\w./-]*\w)", text))
    assert "examples/recipe" in paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    ignored = load("galaxy.yml")["build_ignore"]
    assert not {path.partition("/")[0] for path in paths}.intersection(ignored)


@pytest.mark.parametrize("role", ROLES)
def test_role_describes_every_default(role: str) -> None:
    specs = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]
    described = {name for spec in specs.values() for name in spec.get("options", {})}
    defaults = load(f"roles/{role}/defaults/main.yml") or {}
    assert set(defaults) <= described


@pytest.mark.parametrize("role", ROLES)
def test_role_defaults_are_its_own_names(role: str) -> None:
    defaults = load(f"roles/{role}/defaults/main.yml") or {}
    assert [name for name in defaults if not name.startswith(f"{role}_")] == []
