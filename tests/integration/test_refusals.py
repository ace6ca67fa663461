# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before the first write, each naming what to change."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.links import AIR_GAPPED
from ansible_collections.gpufleet.sharing.tests.integration.answers import (
    mentions,
    naming,
    texts_of,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    GROUPS,
    PROFILES,
    Lab,
    connected,
    module_result,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import Wanted, call, planned

SITE = {"purpose": "site"}
WRONG_PROFILES = {
    "zero": {"replicas": 0},
    "text": {"replicas": "four"},
    "typo": {"replicas": 4, "renameByDefault": True},
    "twice": {
        "resources": [{"name": "gpu", "replicas": 2}, {"name": "nvidia.com/gpu", "replicas": 4}]
    },
    "x" * 64: {"replicas": 4},
    "upper": {"resources": [{"name": "nvidia.com/GPU", "replicas": 2}]},
}


def test_profiles_with_mistakes_stop_before_any_write(lab: Lab, tmp_path: Path) -> None:
    inventory = write_inventory(
        tmp_path / "inventory", variables={"gpu_sharing_profiles": PROFILES | WRONG_PROFILES}
    )
    lab.forget_requests()
    run = lab.playbook("site", inventory).failed()
    assert lab.writes(dry_run=True) == []
    named = [  # profile, key and value of each, in the order of the inventory
        ("zero", "replicas", 0, 1),
        ("text", "replicas", "four", 1),
        ("typo", "renameByDefault", "rename_by_default"),
        ("twice", "resources", "nvidia.com/gpu"),
        ("x" * 64, 64, 63),
        ("upper", "resources[0].name", "nvidia.com/GPU", "nvidia.com/gpu"),
    ]
    for values in named:
        assert len(naming(run.problems, *values)) == 1, values
    assert len(run.problems) == len(named)


def test_profile_that_is_not_defined_stops_before_any_write(lab: Lab, tmp_path: Path) -> None:
    groups = {"dev_gpus": {"hosts": {"dev-gpu-01": {"gpu_sharing_profile": "huge"}}}}
    inventory = write_inventory(tmp_path / "inventory", groups=groups)
    lab.forget_requests()
    run = lab.playbook("site", inventory)
    assert lab.writes(dry_run=True) == []
    run.fails_with("dev-gpu-01", "huge", *PROFILES)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"default_profile": "none"}, ["none", *PROFILES]),
        ({"batches": ["0%"]}, ["0%"]),
    ],
    ids=["unknown-default", "batches"],
)
def test_rollout_with_a_mistake_is_refused_before_any_write(
    lab: Lab, changes: dict[str, object], named: list[str]
) -> None:
    lab.forget_requests()
    answer = call(lab, "rollout", Wanted().of_rollout() | changes)
    assert answer["failed"]
    assert naming(texts_of(answer), *named)
    assert lab.writes(dry_run=True) == []


@pytest.mark.full("another refusal by a whole run", keep=1)
@pytest.mark.parametrize(
    ("groups", "named"),
    [
        (
            {
                **GROUPS,
                "big_gpus": {
                    "hosts": {"dev-gpu-01": {}},
                    "vars": {"gpu_sharing_profile": "no-sharing"},
                },
            },
            ["dev-gpu-01", "dev_gpus", "dev", "big_gpus", "no-sharing"],
        ),
        (
            {"dev_gpus": {"hosts": {"dev-gpu-01": {}}, "vars": {"gpu_sharing_drain": "evict"}}},
            ["gpu_sharing_drain", "dev-gpu-01", "group_vars/all", "host_vars/localhost"],
        ),
    ],
    ids=["two-groups", "misplaced"],
)
def test_inventory_with_mistakes_stops_before_anything_else(
    lab: Lab, tmp_path: Path, groups: dict[str, object], named: list[str]
) -> None:
    """By the first task, which every playbook has."""
    inventory = write_inventory(tmp_path / "inventory", groups=groups)
    lab.playbook("site", inventory).fails_with(*named)


@pytest.mark.full("another refusal by a whole run")
def test_inventory_that_is_not_there_stops_before_anything_else(
    lab: Lab, inventory: Path, tmp_path: Path
) -> None:
    lab.forget_requests()
    wrong = tmp_path / "inventroy"
    _tool, *command = lab.command("site", wrong)
    run = lab.ansible(command).fails_with(wrong, inventory)
    assert run.broken == ["cluster_info"]
    assert lab.writes(dry_run=True) == []


@pytest.mark.full("another refusal by a whole run")
def test_inventory_without_gpu_nodes_stops_before_anything_else(lab: Lab, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.ini"
    hosts.write_text("[dev_gpus]\ndev-gpu-01\n[gpus:children]\ndev_gpus\n", encoding="utf-8")
    lab.forget_requests()
    _tool, *command = lab.command("uninstall", hosts)
    run = lab.ansible(command).fails_with("gpu_nodes", "dev_gpus", "gpus")
    assert run.broken == ["cluster_info"]
    assert lab.writes(dry_run=True) == []


@pytest.mark.full("another refusal by a whole run")
@pytest.mark.parametrize(
    ("chart", "named"),
    [
        (("gpu-operator", "https://127.0.0.1:1/nvidia"), ("https://127.0.0.1:1/nvidia",)),
        (("nowhere/gpu-operator", ""), ("nowhere",)),
    ],
    ids=["repository", "name"],
)
@pytest.mark.parametrize("verbose", [False, True])
def test_chart_that_cannot_be_read(
    lab: Lab, inventory: Path, chart: tuple[str, str], named: tuple[str, ...], *, verbose: bool
) -> None:
    """In one line; the words of Helm are for those who ask for them."""
    given = dict(zip(("gpu_operator_chart_ref", "gpu_operator_chart_repo_url"), chart, strict=True))
    lab.forget_requests()
    run = lab.playbook("site", inventory, *["-v"][:verbose], variables=given)
    run.fails_with(chart[0], *named, *given, AIR_GAPPED)
    assert run.broken == ["site_plan"]
    assert "\n" not in run.failure["msg"]
    assert ("Error: " in run.output) is verbose
    assert lab.writes(dry_run=True) == []


@pytest.mark.full("another refusal by a whole run")
def test_variable_that_is_misspelt_is_warned_of(lab: Lab, tmp_path: Path) -> None:
    groups = {"dev_gpus": {"hosts": {"dev-gpu-01": {}}, "vars": {"gpu_sharing_profil": "dev"}}}
    inventory = write_inventory(tmp_path / "inventory", groups=groups)
    run = lab.playbook("validate", inventory).succeeded()
    run.names("WARNING", "dev-gpu-01", "gpu_sharing_profil", "gpu_sharing_profile")


def test_job_slicing_is_refused(lab: Lab, inventory: Path) -> None:
    run = lab.playbook("site", inventory, variables={"awx_job_slice_count": 2})
    run.fails_with("AWX")
    assert run.broken == ["cluster_info"]


@pytest.mark.full("another refusal by a whole run")
def test_no_credentials(lab: Lab, inventory: Path, tmp_path: Path) -> None:
    environ = {"KUBECONFIG": None, "HOME": str(tmp_path)}
    run = lab.playbook("site", inventory, environ=environ)
    kubeconfig_of_the_user = tmp_path / ".kube" / "config"
    run.fails_with("gpu_sharing_kubeconfig", "K8S_AUTH_*", kubeconfig_of_the_user, "pod")


def test_unreachable_server(lab: Lab) -> None:
    nowhere = {"host": "https://127.0.0.1:1", "api_key": "sesame-open"}
    answer = call(lab, "cluster_info", SITE | nowhere)
    assert answer["failed"]
    assert mentions(answer["msg"], "https://127.0.0.1:1", "Connection refused")  # by the system
    assert "sesame-open" not in json.dumps(answer)


@pytest.mark.full("another refusal by a whole run")
def test_credentials_that_are_not_accepted(lab: Lab, inventory: Path) -> None:
    environ = {
        "K8S_AUTH_HOST": server(lab),
        "K8S_AUTH_API_KEY": "sesame-open",
        "K8S_AUTH_VERIFY_SSL": "false",
    }
    run = lab.playbook("site", inventory, "-vvv", environ=environ)
    run.fails_with(server(lab), 401)
    run.names("WARNING", "TLS", server(lab), "ca_cert")
    assert "sesame-open" not in run.output


@pytest.mark.full("another refusal by a whole run")
def test_helm_missing(lab: Lab, inventory: Path) -> None:
    lab.forget_requests()
    kept = [p for p in lab.environ["PATH"].split(os.pathsep) if not Path(p, "helm").exists()]
    without = replace(lab, environ=lab.environ | {"PATH": os.pathsep.join(kept)})
    run = without.playbook("site", inventory)
    run.fails_with("Helm", "PATH", 3, "gpu_operator_manage")
    result = module_result(without, "helm_release", {"chart_ref": "c"})
    assert result["failed"]
    assert mentions(result["msg"], "Helm", "PATH")
    assert lab.writes(dry_run=True) == []


@pytest.mark.full("another refusal by a whole run")
@pytest.mark.parametrize("purpose", ["uninstall", "plan"])
def test_helm_4_is_refused(lab: Lab, tmp_path: Path, purpose: str) -> None:
    program = tmp_path / "helm"
    program.write_text("#!/bin/sh\necho v4.0.1+g12500dd\n", encoding="utf-8")
    program.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), lab.environ["PATH"]])
    other = replace(lab, environ=lab.environ | {"PATH": path})
    result = module_result(other, "cluster_info", {"purpose": purpose})
    assert result["failed"]
    assert mentions(result["msg"], "Helm", "v4.0.1+g12500dd", "PATH", 3)


def test_environment_that_would_divert_helm(lab: Lab) -> None:
    diverted = replace(lab, environ=lab.environ | {"HELM_KUBEAPISERVER": "https://elsewhere.test"})
    result = module_result(diverted, "cluster_info", SITE)
    assert result["failed"]
    assert mentions(result["msg"], "HELM_KUBEAPISERVER")


def test_gpu_cluster_instead_of_cluster_policy(lab: Lab) -> None:
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gpuclusters.nvidia.com"},
        "spec": {
            "group": "nvidia.com",
            "scope": "Cluster",
            "names": {"plural": "gpuclusters", "kind": "GPUCluster"},
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    lab.apply(crd)
    # Established says that it will be served, not that it is by now
    lab.wait_for(lambda: lab.attempt("get", "gpuclusters.nvidia.com").rc == 0)
    lab.apply(
        {"apiVersion": "nvidia.com/v1alpha1", "kind": "GPUCluster", "metadata": {"name": "g"}}
    )
    answer = call(lab, "cluster_info", SITE)
    assert answer["failed"]
    assert mentions(answer["msg"], "GPUCluster", "g", server(lab))
    lab.kubectl("delete", "crd", "gpuclusters.nvidia.com")


@pytest.mark.full("another refusal by a whole run")
def test_value_that_no_node_can_do_without_stops_before_any_write(
    lab: Lab, inventory: Path
) -> None:
    lab.forget_requests()
    values = {"devicePlugin": {"enabled": False}}
    run = lab.playbook("site", inventory, variables={"gpu_operator_values": values})
    run.fails_with("devicePlugin.enabled", "false")
    assert run.broken == ["site_plan"]
    assert lab.writes() == []


@pytest.mark.full("another refusal by a whole run")
@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"gfd": {"enabled": False}}, ["gfd.enabled", "false"]),
        (
            {"devicePlugin": {"config": {"create": True, "data": {"a": "version: v1"}}}},
            ["devicePlugin.config.create", "true"],
        ),
    ],
    ids=["gfd", "own-config-map"],
)
def test_values_that_are_refused(lab: Lab, values: dict[str, object], named: list[str]) -> None:
    lab.forget_requests()
    task = {"chart_ref": "c", "values": values}
    result = module_result(lab, "helm_release", task, "--check")  # as for a plan
    assert result["failed"]
    assert mentions(result["msg"], *named)
    assert lab.writes() == []


def test_missing_nodes_are_refused_or_reported(lab: Lab) -> None:
    missing = Wanted({"dev_gpus": {"hosts": {"dev-gpu-01": {}, "ghost-gpu-01": {}}}})
    planned(lab, missing).fails_with("ghost-gpu-01")
    report = missing.of_rollout() | {"unavailable_nodes": "report"}
    assert call(lab, "rollout", report, check=True)["missing"] == ["ghost-gpu-01"]
    refused = call(lab, "node_profiles", {"nodes": [{"name": "ghost-gpu-01"}]})
    assert refused["failed"]
    assert mentions(refused["msg"], "ghost-gpu-01")


def server(lab: Lab) -> str:
    return connected(lab).server
