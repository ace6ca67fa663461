# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters of an inventory that are the same API server are refused."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from ansible import constants
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._servers import (
    check_connections,
    check_server,
    claim_server,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

SECRET = "sesame-open"


@pytest.mark.parametrize(
    ("clusters", "alike"),
    [
        ({"c1": {}}, []),
        ({"c1": {}, "c2": {}}, ["c1, c2"]),
        ({"c1": {}, "c2": {"gpu_sharing_context": ""}}, ["c1, c2"]),
        ({"c1": {}, "c2": {"gpu_sharing_context": "c2"}}, []),
        (
            {
                "c1": {"gpu_sharing_context": "a"},
                "c2": {"gpu_sharing_context": "b"},
                "c3": {"gpu_sharing_context": "{{ 'a' }}"},
                "c4": {"gpu_sharing_context": "b", "gpu_sharing_api_key": SECRET},
            },
            ["c1, c3", "c2, c4"],
        ),
        (
            {name: {"gpu_sharing_context": "{{ inventory_hostname }}"} for name in ("c1", "c2")},
            [],
        ),
        ({name: {"gpu_sharing_host": "{{ unknown }}"} for name in ("c1", "c2")}, []),
        (
            {name: {"gpu_sharing_kubeconfig": {"token": SECRET}} for name in ("c1", "c2")},
            ["c1, c2"],
        ),
    ],
)
def test_connections_that_are_alike(
    clusters: dict[str, dict[str, object]], alike: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text(yaml.safe_dump({"all": {"hosts": clusters}}), encoding="utf-8")
    loader = DataLoader()
    manager = InventoryManager(loader, [str(file)])
    hostvars = HostVars(manager, VariableManager(loader, manager), loader)
    with pytest.raises(FleetError) if alike else nullcontext() as refused:
        check_connections(list(clusters), hostvars)
    if refused:
        assert len(refused.value.problems) == len(alike)
        assert mentions(refused.value, *alike, "gpu_sharing_context")
        assert SECRET not in str(refused.value)


def test_server_that_two_clusters_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second sees it at once, the first when it looks again; other plays do not."""
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    check_server("p1", "c1")
    claim_server("p1", "c1", "uid-1")
    claim_server("p1", "c2", "uid-2")
    check_server("p1", "c1")
    with pytest.raises(FleetError) as second:
        claim_server("p1", "c3", "uid-1")
    assert mentions(second.value, "c3", "c1")
    assert "c2" not in str(second.value)
    with pytest.raises(FleetError) as first:
        check_server("p1", "c1")
    assert mentions(first.value, "c1", "c3")
    check_server("p1", "c2")
    claim_server("p2", "c3", "uid-1")
