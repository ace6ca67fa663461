# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles' inputs: what tasks read, what defaults say and what argument_specs tells agree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted((ROOT / "playbooks").rglob("*.yml"))
NAME = re.compile(r"\b_*[a-z][a-z0-9_]*\b")
SHARED = "gpu_sharing_"
NAMES = "_option_names"  # what options are called, which reads none
ASKED = ("gpu_profiles", "gpu_operator", "gpu_nodes")  # by the plan of a change
SET = re.compile(rf"^ +({SHARED}\w+):", re.MULTILINE)  # vars for another role


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def entry_points(role: str) -> dict[str, Any]:
    specs: dict[str, Any] = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")
    return dict(specs["argument_specs"])


def values(role: str, folder: str) -> dict[str, Any]:
    return dict(load(ROOT / "roles" / role / folder / "main.yml") or {})


def tasks_text(role: str, entry: str) -> Iterator[str]:
    """The tasks of an entry point, and of the files that it includes."""
    text = (ROOT / "roles" / role / "tasks" / f"{entry}.yml").read_text(encoding="utf-8")
    yield text
    for included in re.findall(r"(?:include|import)_tasks: (\w+)\.yml", text):
        yield from tasks_text(role, included)


def inputs_read(role: str, entry: str) -> set[str]:
    """The inputs that an entry point reads, also those behind defaults and vars."""
    defaults = values(role, "defaults")
    every = defaults | values(role, "vars")
    behind = {name: str(value) for name, value in every.items() if not name.endswith(NAMES)}
    texts = list(tasks_text(role, entry))
    todo = {name for text in texts for name in NAME.findall(text)}
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        seen.add(name)
        todo |= set(NAME.findall(behind.get(name, ""))) - seen
    handed_on = {name for text in texts for name in SET.findall(text)}
    return {name for name in seen - handed_on if name in defaults or name.startswith(SHARED)}


def used_from_outside() -> set[tuple[str, str]]:
    """Entry points that a playbook names."""
    found = {(role, "main") for role in ROLES}
    for playbook in PLAYBOOKS:
        text = playbook.read_text(encoding="utf-8")
        found |= set(re.findall(r"gpufleet\.sharing\.(gpu_\w+), tasks_from: (\w+)", text))
    steps = (ROOT / "roles/gpu_plan/vars/main.yml").read_text(encoding="utf-8")
    found |= set(re.findall(r"'role': '(\w+)', 'tasks': '(\w+)'", steps))
    assert ("gpu_profiles", "prune") in found
    return found


ENTRIES = [(role, entry) for role in ROLES for entry in entry_points(role)]


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_described_and_nothing_else(role: str) -> None:
    described = {name for spec in entry_points(role).values() for name in spec["options"]}
    own = {name for name in described if not name.startswith(SHARED)}
    assert own == set(values(role, "defaults"))


def told_in_words(option: dict[str, Any], default: object) -> bool:
    """antsibull-docs rejects a template as the default of a dict, number, boolean or list of dicts:
    there the text names its input.
    """
    of_dicts = option.get("elements") == "dict"
    if not isinstance(default, str) or not (of_dicts or option["type"] in ("dict", "int", "bool")):
        return False
    inputs = [name for name in NAME.findall(default) if name.startswith((SHARED, "gpu_nodes_list"))]
    return "default" not in option and all(
        f"O({name})" in str(option) or f"C({name})" in str(option) for name in inputs
    )


@pytest.mark.parametrize(("role", "entry"), ENTRIES)
def test_described_default_is_the_default(role: str, entry: str) -> None:
    options = entry_points(role)[entry]["options"]
    for name, default in values(role, "defaults").items():
        if name in options and not told_in_words(options[name], default):
            assert options[name]["default"] == default
    assert not [name for name in options if name.startswith(SHARED) and "default" in options[name]]


@pytest.mark.parametrize(("role", "entry"), ENTRIES)
def test_entry_point_describes_what_it_reads(role: str, entry: str) -> None:
    assert set(entry_points(role)[entry]["options"]) >= inputs_read(role, entry)


@pytest.mark.parametrize("role", ROLES)
def test_role_reads_what_it_describes(role: str) -> None:
    specs = entry_points(role)
    described = {name for spec in specs.values() for name in spec["options"]}
    assert described == {name for entry in specs for name in inputs_read(role, entry)}


@pytest.mark.parametrize("role", ASKED)
def test_request_validates_all_inputs_of_main(role: str) -> None:
    """A wrong input of main has to be refused before any write, and so at its request."""
    specs = entry_points(role)
    assert specs["request"]["options"] == specs["main"]["options"]


def test_plan_asks_every_role_that_changes_something() -> None:
    tasks = load(ROOT / "playbooks/tasks/requests.yml")
    imported = [task["ansible.builtin.import_role"] for task in tasks]
    assert [role["name"] for role in imported] == [f"gpufleet.sharing.{role}" for role in ASKED]
    assert all(values(role, "vars")[f"{role}_request"] for role in ASKED)


@pytest.mark.parametrize("role", ROLES)
def test_no_role_includes_another(role: str) -> None:
    """Playbooks compose roles: whoever reads one sees what happens, and in which order."""
    folder = ROOT / "roles" / role
    assert load(folder / "meta/main.yml")["dependencies"] == []
    named = [
        path
        for kind in ("tasks", "handlers")
        for path in (folder / kind).rglob("*.yml")
        if re.search(r"(include|import)_role\b", path.read_text(encoding="utf-8"))
    ]
    assert named == []


@pytest.mark.parametrize(("role", "entry"), sorted(used_from_outside()))
def test_entry_point_used_from_outside_is_described(role: str, entry: str) -> None:
    assert entry in entry_points(role)


@pytest.mark.parametrize(("role", "entry"), ENTRIES)
def test_descriptions_are_sentences(role: str, entry: str) -> None:
    spec = entry_points(role)[entry]
    assert not spec["short_description"].endswith(".")
    for described in (spec, *options_of(spec)):
        text = described["description"]
        for sentence in [text] if isinstance(text, str) else text:
            assert re.fullmatch(r"[A-Z].*\.", sentence, re.DOTALL), sentence


def options_of(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All options, the nested ones too. Each has a type, a list also that of its elements."""
    for option in spec.get("options", {}).values():
        assert option["type"] != "list" or "elements" in option
        yield option
        yield from options_of(option)


@pytest.mark.parametrize("role", ROLES)
def test_names_tell_whose_they_are(role: str) -> None:
    assert [n for n in values(role, "defaults") if not n.startswith(f"{role}_")] == []
    provided = [name for name in values(role, "vars") if not name.startswith(f"__{role}_")]
    assert [name for name in provided if not name.startswith(f"{role}_")] == []
    described = str(entry_points(role))
    assert [name for name in provided if f"C({name})" not in described] == []


@pytest.mark.parametrize("role", ROLES)
def test_private_name_is_used_by_its_role_alone(role: str) -> None:
    texts = [
        path.read_text(encoding="utf-8")
        for path in ((ROOT / "roles").rglob("*.yml"))
        if path.relative_to(ROOT / "roles").parts[0] != role
    ]
    texts += [path.read_text(encoding="utf-8") for path in PLAYBOOKS]
    assert not [text for text in texts if f"__{role}_" in text]


@pytest.mark.parametrize("role", ROLES)
def test_readme_names_the_role_and_where_its_inputs_are(role: str) -> None:
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    assert f"# {role}\n" in text
    assert f"ansible-doc -t role gpufleet.sharing.{role}" in text
    assert len(text.splitlines()) <= 50


def test_what_preflight_has_found_is_read_from_its_result() -> None:
    """A variable of its own would be missing where the role is included, and a default taken."""
    texts = [path.read_text("utf-8") for path in (*ROOT.glob("roles/*/*/*.yml"), *PLAYBOOKS)]
    known = {"gpu_preflight_result", *values("gpu_preflight", "defaults"), "gpu_preflight_hosts"}
    known |= {"gpu_preflight_found"}
    names = {name for text in texts for name in re.findall(r"\bgpu_preflight_\w+", text)}
    assert names <= known
