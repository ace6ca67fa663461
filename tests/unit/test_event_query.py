# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes that Ansible Automation Platform counts, by extensions/audit/event_query.yml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jq
import pytest
import yaml

from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.plan import Step

ROOT = Path(__file__).resolve().parents[2]
QUERIES: dict[str, dict[str, str]] = yaml.safe_load(
    (ROOT / "extensions" / "audit" / "event_query.yml").read_text(encoding="utf-8")
)
SERVER = "https://one:6443"


def counted(module: str, result: dict[str, Any]) -> list[dict[str, Any]]:
    query = QUERIES[f"gpufleet.sharing.{module}"]["query"]
    return list(jq.compile(query).input_value(result).all())


def documented(module: str) -> dict[str, Any]:
    text = (ROOT / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8")
    found = yaml.safe_load(text.partition('RETURN = r"""')[2].partition('"""')[0])
    assert isinstance(found, dict)
    return found


def test_a_rollout_counts_the_nodes_that_it_changes() -> None:
    nodes = [{"node": f"n-{step.value}", "step": step.value} for step in Step]
    found = counted("rollout", {"server": SERVER, "nodes": nodes})
    assert [each["name"] for each in found] == ["n-record", "n-wait", "n-flip", "n-restart"]
    assert found[0]["canonical_facts"] == {"node": "n-record", "cluster": SERVER}


@pytest.mark.parametrize("module", ["mig_config", "node_profiles"])
def test_modules_that_set_labels_count_their_changes(module: str) -> None:
    changes = [{"node": "n1", "before": None, "after": "dev"}]
    (found,) = counted(module, {"server": SERVER, "changes": changes})
    assert (found["name"], found["canonical_facts"]["cluster"]) == ("n1", SERVER)
    assert set(found) == {"name", "canonical_facts", "facts"}


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_failure_counts_nothing_and_the_module_returns_what_is_read(name: str) -> None:
    module = name.rpartition(".")[2]
    assert counted(module, {"msg": "failed"}) == []
    returned = documented(module)
    (rows,) = {"nodes", "changes"} & set(
        QUERIES[name]["query"].replace(".", " ").replace("[", " ").split()
    )
    assert {"server", rows} <= set(returned)
    assert "node" in returned[rows]["contains"]
