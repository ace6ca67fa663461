# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the tables of variables in docs/api.md from the roles' argument specs and defaults.

.venv/bin/python tests/tools/api_page.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from collection_tree import ROOT

PAGE = ROOT / "docs" / "api.md"
SHARED = "gpu_sharing_"
#: Variables that roles and playbooks pass to each other.
INTERNAL = frozenset({"gpu_preflight_fleet"})
INTERNAL_ENDINGS = ("_run",)

MARKUP = re.compile(r"\b[OVCMP]\(([^)]*)\)")
FALLBACK = re.compile(r"\b(gpu_sharing_\w+) \| default\((.*?)(?:, true)?\) *(?:\}\}|\|)")
SECTION = "<!-- generated: begin -->\n\n{}\n<!-- generated: end -->"


@dataclass(frozen=True)
class Variable:
    """One input of a role: its type, its default as YAML shows it, and what it means."""

    name: str
    type: str
    default: str
    meaning: str

    def row(self) -> str:
        default = f"`{self.default}`" if self.default else ""
        return f"| `{self.name}` | {self.type} | {default} | {self.meaning} |"


def page(text: str) -> str:
    """Return the page with new tables between its markers."""
    begin, _mark, rest = text.partition("<!-- generated: begin -->")
    _old, _mark, end = rest.partition("<!-- generated: end -->")
    return begin + SECTION.format(tables()) + end


def tables() -> str:
    roles = sorted(path.name for path in (ROOT / "roles").iterdir())
    found = {role: dict(options(role)) for role in roles}
    shared = {
        name: option
        for each in found.values()
        for name, option in each.items()
        if name.startswith(SHARED)
    }
    parts = [table("Inventory variables of clusters", shared, fallbacks(roles))]
    for role in roles:
        own = {name: option for name, option in found[role].items() if name.startswith(role)}
        parts.append(table(f"Role `{role}`", own, defaults(role)))
    return "\n".join(parts)


def table(title: str, found: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    rows = [variable(name, found[name], values.get(name)).row() for name in sorted(found)]
    head = f"### {title}\n\n| variable | type | default | meaning |\n|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def options(role: str) -> Iterator[tuple[str, Any]]:
    """The public inputs of all entry points of a role."""
    specs = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text("utf-8"))
    for spec in specs["argument_specs"].values():
        for name, option in spec["options"].items():
            if name not in INTERNAL and not name.endswith(INTERNAL_ENDINGS):
                yield name, option


def defaults(role: str) -> dict[str, Any]:
    path = ROOT / "roles" / role / "defaults" / "main.yml"
    return dict(yaml.safe_load(path.read_text("utf-8")) or {})


def fallbacks(roles: list[str]) -> dict[str, str]:
    """What the roles use where an inventory variable is not set."""
    templates = [str(value) for role in roles for value in defaults(role).values()]
    return {name: value for text in templates for name, value in FALLBACK.findall(text)}


def variable(name: str, option: Mapping[str, Any], default: object) -> Variable:
    described = option["description"]
    sentence = described if isinstance(described, str) else described[0]
    kind = str(option["type"])
    if "elements" in option:
        kind += f" of {option['elements']}"
    return Variable(name, kind, shown(default), plain(sentence))


def shown(default: object) -> str:
    """A default as in YAML; a template by the variable that it takes its value from."""
    if default is None or default == "":
        return ""
    text = str(default).strip()
    if "{{" in text:
        source = re.search(r"\bgpu_\w+", text)
        return source[0] if source else text
    if isinstance(default, str):
        return text.strip("'\"")
    return yaml.safe_dump(default, default_flow_style=True).removesuffix("\n...\n").strip()


def plain(text: str) -> str:
    """The text without Ansible's markup, fit for a cell of a table."""
    return " ".join(MARKUP.sub(r"`\1`", text).split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), encoding="utf-8")
