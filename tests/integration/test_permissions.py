# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account of docs/connection.md: it can do everything, and each of its permissions is asked for
before anything is written.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.links import MANIFESTS
from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import replicas
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    PROFILES,
    ROOT,
    Lab,
    remains,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import call

NAMESPACE = "gpu-operator"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:gpufleet-sharing"
EXISTING: dict[str, Any] = {"gpu_operator_manage": "existing", "gpu_verify_probe_prepared": True}
ROOM = "gpufleet-sharing-probe"
IN = f" in namespace {NAMESPACE}"
READS = ("list gpuclusters", "list nodes")


def documented() -> list[dict[str, Any]]:
    text = (ROOT / "docs" / "connection.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (block,) = (block for block in blocks if "ClusterRole" in block)
    return list(yaml.safe_load_all(block))


def single(rules: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rules of one verb on one resource each, by 'verb resource'."""
    for rule in rules:
        for resource, verb in itertools.product(rule["resources"], rule["verbs"]):
            yield f"{verb} {resource}", rule | {"resources": [resource], "verbs": [verb]}


def grant(lab: Lab, *, but: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> None:
    """Apply the documented manifests, less some permissions. Where some are missing it returns
    when the server goes by that, which it does a moment after it has stored them.
    """
    documents = documented()
    for document in documents:
        if "rules" in document:
            document["rules"] = [
                rule
                for name, rule in single(document["rules"])
                if name not in but and (not only or name in only)
            ]
    lab.apply(*documents)
    if but or only:
        lab.wait_for(lambda: all(in_force(lab, documents, place) for place in (NAMESPACE, ROOM)))


def in_force(lab: Lab, documents: list[dict[str, Any]], namespace: str) -> bool:
    """Whether the account may do in a namespace what the manifests say, and nothing more of what is
    documented.
    """
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    options = ("--raw", path, "-f", "-", "--as", ACCOUNT)
    answer = lab.attempt("create", *options, text=json.dumps(review)).succeeded()
    known, wanted = allowed(documented(), namespace), allowed(documents, namespace)
    has = Counter(
        name for name, _rule in single(json.loads(answer.output)["status"]["resourceRules"])
    )
    return {name: has[name] for name in known} == {name: wanted[name] for name in known}


def allowed(documents: list[dict[str, Any]], namespace: str) -> Counter[str]:
    """How many rules of cluster roles and of a namespace's roles give each permission."""
    return Counter(
        name
        for document in documents
        if document["metadata"].get("namespace", namespace) == namespace
        for name, _rule in single(document.get("rules", []))
    )


def credentials(lab: Lab, folder: Path) -> dict[str, str]:
    """Options that make the account's connection."""
    cluster = yaml.safe_load(Path(lab.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
    entry = cluster["clusters"][0]["cluster"]
    file = folder / "ca.crt"
    file.write_bytes(base64.b64decode(entry["certificate-authority-data"]))
    token = lab.kubectl("create", "token", "gpufleet-sharing", "-n", NAMESPACE).strip()
    return {"host": entry["server"], "api_key": token, "ca_cert": str(file)}


def install_operator(lab: Lab) -> None:
    """The operator of somebody else."""
    install = ["helm", "install", "gpu-operator", lab.environ["GPULAB_CHART"], "-n", NAMESPACE]
    subprocess.run(
        [*install, "--create-namespace", "--wait"],
        env=lab.environ,
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def account(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Somebody else's operator, and the documented account beside it."""
    install_operator(lab)
    grant(lab)
    return credentials(lab, tmp_path_factory.mktemp("account"))


def variables(account: dict[str, str]) -> dict[str, Any]:
    return EXISTING | {f"gpu_sharing_{name}": value for name, value in account.items()}


def forbidden(lab: Lab, account: str = ACCOUNT) -> list[str]:
    """Requests of an account that were refused."""
    text = Path(lab.environ["GPULAB_AUDIT_LOG"]).read_text(encoding="utf-8")
    events = [json.loads(line) for line in text[: text.rfind("\n")].splitlines()[lab.seen :]]
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in events
        if event["user"]["username"] == account and event["responseStatus"]["code"] == 403
    ]


def test_documented_account_can_make_a_fleet(
    lab: Lab, inventory: Path, account: dict[str, str]
) -> None:
    lab.forget_requests()
    run = lab.playbook("site", inventory, variables=variables(account)).succeeded()
    run.names(ACCOUNT, "variables", "host", "ca_cert").names(5, 10, 36)
    assert lab.writes(ACCOUNT)
    assert lab.writes("lab-admin") == []
    assert forbidden(lab) == []


def missing_in(answer: Mapping[str, Any]) -> list[str]:
    """The permissions that a failure names."""
    return str(answer["msg"]).partition(" may not ")[2].partition(" on https:")[0].split("; ")


@pytest.mark.full("the account in every other playbook")
def test_site_and_uninstall_stop_before_any_write_and_verify_needs_reads_only(
    lab: Lab, inventory: Path, account: dict[str, str]
) -> None:
    grant(lab, only=READS)
    lab.forget_requests()
    try:
        reads = variables(account) | {"gpu_verify_probe": False}
        lab.playbook("verify", inventory, variables=reads).succeeded()
        run = lab.playbook("site", inventory, "-vvv", variables=variables(account))
        run.fails_with(ACCOUNT)
        assert account["api_key"] not in run.output
        assert set(missing_in(run.failure)) >= {
            "create configmaps in namespace gpu-operator",
            "patch configmaps device-plugin-config in namespace gpu-operator",
            "patch controllerrevisions.apps in namespace gpu-operator",
            "patch leases.coordination.k8s.io gpufleet-sharing in namespace gpu-operator",
            "patch nodes",
            "patch pods in namespace gpu-operator",
            "watch nodes",
            "watch pods in namespace gpu-operator",
        }
        run = lab.playbook("uninstall", inventory, variables=variables(account)).failed()
        assert set(missing_in(run.failure)) >= {
            "delete configmaps device-plugin-config in namespace gpu-operator",
            "delete controllerrevisions.apps in namespace gpu-operator",
            "delete leases.coordination.k8s.io gpufleet-sharing in namespace gpu-operator",
        }
        assert lab.writes(ACCOUNT, dry_run=True) == []
    finally:
        grant(lab)


@pytest.mark.full("the account in every other playbook")
def test_documented_account_can_change_prune_verify_and_uninstall(
    lab: Lab, inventory: Path, account: dict[str, str]
) -> None:
    """A change of content restarts plugins."""
    patch = json.dumps({"data": {"old": "version: v1\n"}})
    config_map = ("configmap", "device-plugin-config", "-n", NAMESPACE)
    lab.kubectl("patch", *config_map, "--type=merge", "-p", patch)
    lab.forget_requests()
    changed = replicas(default=2) | {"gpu_profiles_prune": True}
    lab.playbook("site", inventory, variables=variables(account) | changed).succeeded()
    assert lab.json(*config_map)["data"].keys() == PROFILES.keys()
    lab.playbook("verify", inventory, variables=variables(account) | changed).succeeded()
    lab.playbook("uninstall", inventory, variables=variables(account)).succeeded()
    assert lab.labels() == {}
    assert remains(lab) == []
    assert forbidden(lab) == []


@pytest.mark.full("each other permission", keep=2)
@pytest.mark.parametrize(
    ("purpose", "missing", "permissions"),
    [
        ("site", "patch nodes", ["patch nodes"]),
        ("site", "list nodes", ["list nodes"]),
        ("site", "list gpuclusters", ["list gpuclusters.nvidia.com"]),
        ("site", "list pods", ["list pods", "list pods" + IN]),
        ("site", "list resourcequotas", ["list resourcequotas"]),
        ("site", "list resourceslices", ["list resourceslices.resource.k8s.io"]),
        ("site", "patch clusterpolicies", ["patch clusterpolicies.nvidia.com cluster-policy"]),
        ("site", "get namespaces", ["get namespaces gpu-operator"]),
        ("site", "get configmaps", ["get configmaps device-plugin-config" + IN]),
        ("site", "create configmaps", ["create configmaps" + IN]),
        ("site", "watch nodes", ["watch nodes"]),
        ("site", "watch pods", ["watch pods" + IN]),
        ("site", "patch pods", ["patch pods" + IN]),
        ("site", "delete pods", ["delete pods" + IN]),
        ("site", "list daemonsets", ["list daemonsets.apps" + IN]),
        ("site", "create leases", ["create leases.coordination.k8s.io" + IN]),
        ("site", "patch leases", ["patch leases.coordination.k8s.io gpufleet-sharing" + IN]),
        ("site", "patch controllerrevisions", ["patch controllerrevisions.apps" + IN]),
        ("uninstall", "delete leases", ["delete leases.coordination.k8s.io gpufleet-sharing" + IN]),
        ("uninstall", "delete configmaps", ["delete configmaps device-plugin-config" + IN]),
        ("uninstall", "list pods", ["list pods"]),
        ("uninstall", "list clusterpolicies", ["list clusterpolicies.nvidia.com"]),
        ("verify", "list nodes", ["list nodes"]),
        ("probe", "list events", [f"list events in namespace {ROOM}"]),
        ("probe", "create pods", [f"create pods in namespace {ROOM}"]),
        ("probe", "create jobs", [f"create jobs.batch in namespace {ROOM}"]),
        ("probe", "get priorityclasses", [f"get priorityclasses.scheduling.k8s.io {ROOM}"]),
    ],
)
def test_each_permission_is_asked_for(
    lab: Lab, account: dict[str, str], purpose: str, missing: str, permissions: list[str]
) -> None:
    grant(lab, but=(missing,))
    try:
        arguments = {**account, "purpose": purpose, "manage": "existing", "probe_prepared": True}
        answer = call(lab, "cluster_info", arguments)
    finally:
        grant(lab)
    assert answer["failed"]
    assert missing_in(answer) == permissions
    assert mentions(answer["msg"], ACCOUNT, *permissions, MANIFESTS)
    assert "\n" not in answer["msg"]


def test_helm_is_asked_for_more(lab: Lab, account: dict[str, str]) -> None:
    """With manage helm: the operator's Deployments, Helm's Secrets, the note on the namespace."""
    lab.forget_requests()
    arguments = {**account, "purpose": "site", "manage": "helm", "probe_prepared": True}
    answer = call(lab, "cluster_info", arguments)
    verbs = ("create", "delete", "get", "list", "update")
    secrets = [f"{verb} secrets in namespace gpu-operator" for verb in verbs]
    others = ["list deployments.apps", "patch namespaces gpu-operator"]
    assert sorted(missing_in(answer)) == sorted([*secrets, *others])
    assert lab.writes(ACCOUNT, dry_run=True) == []


def test_namespace_without_an_operator(lab: Lab) -> None:
    lab.forget_requests()
    typo = {"purpose": "site", "manage": "existing", "namespace": "gpu-operators"}
    answer = call(lab, "cluster_info", typo)
    assert answer["failed"]
    assert mentions(answer["msg"], "gpu-operators")
    assert lab.writes() == []
