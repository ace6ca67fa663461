# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Codes and texts of all findings, and the permissions that the doctor needs."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest
import yaml

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    FleetError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor import catalog
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.catalog import (
    CHECKS,
    check_codes,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.checks import (
    content,
    nodes,
    operator,
    platforms,
    plugin,
    pods,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    Check,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.permissions import (
    DOCTOR,
    Scope,
    doctor_permissions,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_unknown_codes_are_rejected() -> None:
    check_codes(["GS001", "GS064"])
    with pytest.raises(FleetError, match="GS065, gs001"):
        check_codes(["gs001", "GS065", "GS002"])


def test_codes_are_stable_and_in_order() -> None:
    """A code is never reused: add new ones at the end."""
    assert [check.code for check in CHECKS] == [
        f"GS{number:03}" for number in range(1, len(CHECKS) + 1)
    ]
    assert len(CHECKS) == 64


def ranges(codes: list[str]) -> str:
    """Consecutive codes as GS001 to GS003, others by themselves."""
    runs: list[list[str]] = []
    for code in codes:
        follows = runs and int(code[2:]) == int(runs[-1][-1][2:]) + 1
        runs[-1:] = [[*runs[-1], code]] if follows else [*runs[-1:], [code]]
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def test_ranges() -> None:
    assert (
        ranges(["GS001", "GS002", "GS009", "GS011", "GS012"])
        == "GS001 to GS002, GS009, GS011 to GS012"
    )


def test_each_file_names_its_codes() -> None:
    """In the first line, and in the catalog, so that a reader finds them without a search."""
    catalog_text = Path(catalog.__file__).read_text(encoding="utf-8")
    for module in (content, nodes, operator, plugin, pods, platforms):
        codes = ranges([check.code for check in module.CHECKS])
        assert mentions(str(module.__doc__).partition(":")[2], codes)
        name = module.__name__.rpartition(".")[2]
        assert f"*{name}.CHECKS,  # {codes}\n" in catalog_text


def test_no_finding_follows_from_itself() -> None:
    after = {check.code: set(check.follows) for check in CHECKS}
    assert set().union(*after.values()) <= after.keys()
    while after:
        free = {code for code, causes in after.items() if not causes & after.keys()}
        assert free, f"they follow from each other: {sorted(after)}"
        after = {code: causes for code, causes in after.items() if code not in free}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_texts_are_plain(check: Check) -> None:
    assert not check.title.endswith(".")
    assert check.seen.endswith(".") or check.seen.endswith("}")
    assert check.why.endswith(".")
    fields = {name for _text, name, *_rest in Formatter().parse(check.cause) if name}
    assert not fields & {"node", "nodes", "count"}


def test_documented_role_of_the_doctor_grants_what_it_looks_at() -> None:
    text = (DOCS / "doctor.md").read_text(encoding="utf-8")
    (block,) = (
        each for each in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "ClusterRole" in each
    )
    roles = [each for each in yaml.safe_load_all(block) if "rules" in each]
    granted = {
        (verb, resource, group)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    looks = {(each.verb, each.resource, each.group) for each in doctor_permissions(Scope(DOCTOR))}
    assert granted == looks
