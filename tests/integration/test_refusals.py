# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before the first write, each naming what to change."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions, naming
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    GROUPS,
    PROFILES,
    Lab,
    module_result,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import call

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


@pytest.mark.parametrize(
    ("groups", "variables", "named"),
    [
        (
            {"dev_gpus": {"hosts": {"dev-gpu-01": {"gpu_sharing_profile": "huge"}}}},
            {},
            ["dev-gpu-01", "gpu_sharing_profile", "huge", "gpu_sharing_profiles"],
        ),
        (
            GROUPS,
            {"gpu_sharing_default_profile": "none"},
            ["gpu_sharing_default_profile", "none", "gpu_sharing_profiles", *PROFILES],
        ),
        (
            {
                **GROUPS,
                "big_gpus": {
                    "hosts": {"dev-gpu-01": {}},
                    "vars": {"gpu_sharing_profile": "no-sharing"},
                },
            },
            {},
            ["dev-gpu-01", "dev_gpus", "dev", "big_gpus", "no-sharing"],
        ),
        (
            {"dev_gpus": {"hosts": {"dev-gpu-01": {}, "ghost-gpu-01": {}}}},
            {},
            ["ghost-gpu-01"],
        ),
        (
            {"dev_gpus": {"hosts": {"dev-gpu-01": {}}, "vars": {"gpu_sharing_drain": "evict"}}},
            {},
            ["gpu_sharing_drain", "dev-gpu-01", "group_vars/all", "host_vars/localhost"],
        ),
    ],
    ids=["unknown-profile", "unknown-default", "two-groups", "missing-node", "misplaced"],
)
def test_inventory_with_mistakes_stops_before_any_write(
    lab: Lab,
    tmp_path: Path,
    groups: dict[str, object],
    variables: dict[str, object],
    named: list[str],
) -> None:
    inventory = write_inventory(tmp_path / "inventory", groups=groups, variables=variables)
    lab.forget_requests()
    run = lab.playbook("site", inventory)
    assert lab.writes(dry_run=True) == []
    run.fails_with(*named)


def test_variable_that_is_misspelt_is_warned_of(lab: Lab, tmp_path: Path) -> None:
    groups = {"dev_gpus": {"hosts": {"dev-gpu-01": {}}, "vars": {"gpu_sharing_profil": "dev"}}}
    inventory = write_inventory(tmp_path / "inventory", groups=groups)
    run = lab.playbook("validate", inventory).succeeded()
    run.names("WARNING", "dev-gpu-01", "gpu_sharing_profil", "gpu_sharing_profile")


def test_batches_with_a_mistake_stop_before_any_write(lab: Lab, inventory: Path) -> None:
    lab.forget_requests()
    wrong = {"gpu_sharing_rollout_batches": ["0%"]}
    run = lab.playbook("site", inventory, variables=wrong)
    run.fails_with("gpu_sharing_rollout_batches", "0%")
    assert lab.writes() == []


def test_job_slicing_is_refused(lab: Lab, inventory: Path) -> None:
    run = lab.playbook("site", inventory, variables={"awx_job_slice_count": 2})
    run.fails_with("AWX")
    assert "problems" not in run.failure  # no module of ours has been asked


def test_no_credentials(lab: Lab, inventory: Path, tmp_path: Path) -> None:
    environ = {"KUBECONFIG": None, "HOME": str(tmp_path)}
    run = lab.playbook("site", inventory, environ=environ)
    kubeconfig_of_the_user = tmp_path / ".kube" / "config"
    run.fails_with("gpu_sharing_kubeconfig", "K8S_AUTH_*", kubeconfig_of_the_user, "pod")


def test_unreachable_server(lab: Lab, inventory: Path) -> None:
    environ = {"K8S_AUTH_HOST": "https://127.0.0.1:1", "K8S_AUTH_API_KEY": "sesame-open"}
    run = lab.playbook("site", inventory, "-vvv", environ=environ)
    run.fails_with("https://127.0.0.1:1", "Connection refused")  # as the system puts it
    assert "sesame-open" not in run.output


def test_credentials_that_are_not_accepted(lab: Lab, inventory: Path) -> None:
    environ = {
        "K8S_AUTH_HOST": server(lab),
        "K8S_AUTH_API_KEY": "sesame-open",
        "K8S_AUTH_VERIFY_SSL": "false",
    }
    run = lab.playbook("site", inventory, environ=environ)
    run.fails_with(server(lab), 401)
    run.names("WARNING", "TLS", server(lab), "ca_cert")


def test_helm_missing(lab: Lab, inventory: Path, tmp_path: Path) -> None:
    lab.forget_requests()
    kept = [p for p in lab.environ["PATH"].split(os.pathsep) if not Path(p, "helm").exists()]
    without = replace(lab, environ=lab.environ | {"PATH": os.pathsep.join(kept)})
    run = without.playbook("site", inventory)
    run.fails_with("Helm", "PATH", 3, "gpu_operator_manage")
    without.playbook("uninstall", inventory).fails_with("Helm", "PATH")
    result = module_result(without, "helm_release", {"chart_ref": "c"})
    assert result["failed"]
    assert mentions(result["msg"], "Helm", "PATH")
    assert lab.writes(dry_run=True) == []


def test_helm_4(lab: Lab, inventory: Path, tmp_path: Path) -> None:
    lab.forget_requests()
    program = tmp_path / "helm"
    program.write_text("#!/bin/sh\necho v4.0.1+g12500dd\n", encoding="utf-8")
    program.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), lab.environ["PATH"]])
    run = lab.playbook("site", inventory, environ={"PATH": path})
    run.fails_with("Helm", "v4.0.1+g12500dd", "PATH", 3)
    assert lab.writes(dry_run=True) == []


def test_environment_that_would_divert_helm(lab: Lab, inventory: Path) -> None:
    lab.forget_requests()
    environ = {"HELM_KUBEAPISERVER": "https://elsewhere.example"}
    run = lab.playbook("site", inventory, environ=environ)
    run.fails_with("HELM_KUBEAPISERVER")
    assert lab.writes(dry_run=True) == []


def test_host_does_not_get_the_credentials_of_another_server(lab: Lab, inventory: Path) -> None:
    environ = {"K8S_AUTH_HOST": "https://elsewhere.example"}
    run = lab.playbook("site", inventory, environ=environ)
    run.fails_with("K8S_AUTH_HOST", "https://elsewhere.example", lab.name, server(lab))


def test_no_permission_on_nodes(lab: Lab, inventory: Path) -> None:
    """A service account that may read, but not patch nodes."""
    lab.kubectl("create", "serviceaccount", "reader")
    lab.kubectl(
        "create",
        "clusterrolebinding",
        "reader",
        "--clusterrole=view",
        "--serviceaccount=default:reader",
    )
    token = lab.kubectl("create", "token", "reader").strip()
    lab.forget_requests()
    environ = {
        "K8S_AUTH_HOST": server(lab),
        "K8S_AUTH_API_KEY": token,
        "K8S_AUTH_SSL_CA_CERT": ca(lab),
    }
    run = lab.playbook("site", inventory, "-vvv", environ=environ)
    run.fails_with("system:serviceaccount:default:reader", "patch nodes")
    assert token not in run.output
    assert lab.writes("system:serviceaccount:default:reader", dry_run=True) == []


def test_variables_and_environment_that_contradict(lab: Lab, inventory: Path) -> None:
    run = lab.playbook(
        "site",
        inventory,
        variables={"gpu_sharing_context": lab.name},
        environ={"K8S_AUTH_HOST": "https://elsewhere.example"},
    )
    run.fails_with("context", "K8S_AUTH_HOST")


def test_unknown_context(lab: Lab, inventory: Path) -> None:
    run = lab.playbook("site", inventory, variables={"gpu_sharing_context": "prod-mars"})
    run.fails_with("prod-mars", lab.name)


def test_gpu_cluster_instead_of_cluster_policy(lab: Lab, inventory: Path) -> None:
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
    lab.playbook("site", inventory).fails_with("GPUCluster", "g")
    lab.kubectl("delete", "crd", "gpuclusters.nvidia.com")


def test_chart_that_would_own_the_config_map(lab: Lab, inventory: Path) -> None:
    lab.forget_requests()
    values = {"devicePlugin": {"config": {"create": True, "data": {"a": "version: v1"}}}}
    run = lab.playbook("site", inventory, variables={"gpu_operator_values": values})
    run.fails_with("devicePlugin.config.create", "true")
    assert lab.writes() == []


@pytest.mark.parametrize("part", ["devicePlugin", "gfd"])
def test_what_no_node_can_do_without_is_not_switched_off(
    lab: Lab, inventory: Path, part: str
) -> None:
    lab.forget_requests()
    values = {part: {"enabled": False}}
    run = lab.playbook("site", inventory, variables={"gpu_operator_values": values})
    run.fails_with(f"{part}.enabled", "false")
    assert lab.writes() == []


def test_missing_nodes_can_be_reported_instead(lab: Lab, tmp_path: Path) -> None:
    hosts: dict[str, object] = {"dev-gpu-01": {}, "ghost-gpu-01": {}}
    nodes = {"dev_gpus": {"hosts": hosts}}
    inventory = write_inventory(tmp_path / "inventory", groups=nodes)
    report = {"gpu_sharing_unavailable_nodes": "report"}
    run = lab.playbook("site", inventory, "--check", variables=report).succeeded()
    run.names("ghost-gpu-01", 1)
    refused = call(lab, "node_profiles", {"assignments": {"ghost-gpu-01": None}})
    assert refused["failed"]
    assert mentions(refused["msg"], "ghost-gpu-01")


def server(lab: Lab) -> str:
    return str(kubeconfig(lab)["clusters"][0]["cluster"]["server"])


def ca(lab: Lab) -> str:
    """A file with the lab's CA."""
    path = Path(lab.environ["GPULAB_STATE"], "ca-for-test.crt")
    data = lab.kubectl(
        "config",
        "view",
        "--raw",
        "-o",
        "jsonpath={.clusters[0].cluster.certificate-authority-data}",
    )
    path.write_bytes(base64.b64decode(data))
    return str(path)


def kubeconfig(lab: Lab) -> dict[str, list[dict[str, dict[str, str]]]]:
    found: dict[str, list[dict[str, dict[str, str]]]] = json.loads(
        lab.kubectl("config", "view", "--raw", "-o", "json")
    )
    return found
