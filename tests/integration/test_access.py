# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service accounts that bootstrap_access creates: what they can do, their tokens, and the undo."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.gpufleet.sharing.tests.integration.labtools import Lab, Run
from ansible_collections.gpufleet.sharing.tests.integration.modules import call
from ansible_collections.gpufleet.sharing.tests.integration.test_permissions import (
    NAMESPACE,
    forbidden,
    install_operator,
)

ACCOUNTS = ("reader", "operator")
EXISTING: dict[str, Any] = {"gpu_operator_manage": "existing"}
LEFT = "serviceaccounts,secrets,roles,rolebindings,clusterroles,clusterrolebindings,namespaces"


@pytest.fixture(scope="module")
def folder(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody else's operator, and where the kubeconfigs will be."""
    install_operator(lab)
    return tmp_path_factory.mktemp("access") / "kubeconfigs"


def bootstrap(lab: Lab, inventory: Path, folder: Path, *options: str, **more: object) -> Run:
    variables = EXISTING | {"gpu_access_directory": str(folder)} | more
    return lab.playbook("bootstrap_access", inventory, *options, variables=variables)


def kubeconfig(folder: Path, account: str) -> Path:
    return folder / f"localhost-{account}.kubeconfig"


def token(folder: Path, account: str) -> str:
    document = yaml.safe_load(kubeconfig(folder, account).read_text(encoding="utf-8"))
    return str(document["users"][0]["user"]["token"])


def ours(lab: Lab) -> list[str]:
    """What is there of our accounts."""
    found = lab.json(LEFT, "-A", "-l", "app.kubernetes.io/managed-by=gpufleet.sharing")
    return sorted(f"{each['kind']}/{each['metadata']['name']}" for each in found["items"])


def versions(lab: Lab) -> list[str]:
    """Of all of it: they change with each write that changes something."""
    found = lab.json(LEFT, "-A", "-l", "app.kubernetes.io/managed-by=gpufleet.sharing")
    return [each["metadata"]["resourceVersion"] for each in found["items"]]


def accepted(lab: Lab, path: Path) -> bool:
    """Whether the API server knows the token of a kubeconfig."""
    return lab.attempt("auth", "whoami", "--kubeconfig", str(path)).rc == 0


def as_account(
    lab: Lab, folder: Path, account: str, name: str, inventory: Path, **more: Any
) -> Run:
    variables = EXISTING | {
        "gpu_sharing_kubeconfig": str(kubeconfig(folder, account)),
        "gpu_verify_probe_prepared": True,
        **more,
    }
    return lab.playbook(name, inventory, variables=variables)


def test_cluster_without_the_operator_is_refused(lab: Lab, inventory: Path, tmp_path: Path) -> None:
    lab.forget_requests()
    run = bootstrap(lab, inventory, tmp_path, gpu_operator_namespace="elsewhere")
    run.fails_with("namespace", "elsewhere", "gpu_operator_namespace")
    assert lab.writes() == []


def test_check_mode_writes_nothing(lab: Lab, inventory: Path, folder: Path) -> None:
    lab.forget_requests()
    run = bootstrap(lab, inventory, folder, "--check", "--diff").succeeded()
    assert run.changed == {"localhost": 2}
    assert lab.writes() == []
    assert not folder.exists()


def test_accounts_tokens_and_files(lab: Lab, inventory: Path, folder: Path) -> None:
    run = bootstrap(lab, inventory, folder, "-vvvvv", "--diff").succeeded()
    for account in ACCOUNTS:
        assert kubeconfig(folder, account).stat().st_mode & 0o777 == 0o600
        assert accepted(lab, kubeconfig(folder, account))
        for part in token(folder, account).split("."):
            assert part not in run.output


def test_second_run_changes_nothing(lab: Lab, inventory: Path, folder: Path) -> None:
    before = token(folder, "reader"), versions(lab)
    run = bootstrap(lab, inventory, folder).succeeded()
    assert run.changed == {"localhost": 0}
    assert (token(folder, "reader"), versions(lab)) == before


@pytest.mark.full("nine runs of playbooks")
def test_everything_runs_under_the_accounts(lab: Lab, inventory: Path, folder: Path) -> None:
    """Site, verify with probe and history as operator; what only reads as reader."""
    lab.forget_requests()
    as_account(lab, folder, "operator", "site", inventory).succeeded()
    as_account(lab, folder, "operator", "verify", inventory).succeeded()
    as_account(lab, folder, "operator", "history", inventory).succeeded()
    reads: dict[str, Any] = {
        "gpu_verify_probe": False,
        "gpu_sharing_report": str(folder / "r.html"),
    }
    for name in ("plan", "drift", "doctor", "history", "verify", "report"):
        as_account(lab, folder, "reader", name, inventory, **reads).succeeded()
    assert forbidden(lab, f"system:serviceaccount:{NAMESPACE}:gpufleet-sharing") == []
    assert forbidden(lab, f"system:serviceaccount:{NAMESPACE}:gpufleet-sharing-reader") == []


@pytest.mark.full("test_permissions has accounts that may not")
def test_reader_cannot_write(lab: Lab, inventory: Path, folder: Path) -> None:
    lab.forget_requests()
    run = as_account(lab, folder, "reader", "site", inventory)
    run.fails_with("gpufleet-sharing-reader", "patch nodes")
    assert lab.writes(f"system:serviceaccount:{NAMESPACE}:gpufleet-sharing-reader") == []


@pytest.mark.full("another change of an account")
def test_account_that_was_replaced_gets_a_token_of_its_own(
    lab: Lab, inventory: Path, folder: Path
) -> None:
    lab.kubectl("delete", "serviceaccount", "gpufleet-sharing-reader", "-n", NAMESPACE)
    lab.wait_for(lambda: not accepted(lab, kubeconfig(folder, "reader")))
    bootstrap(lab, inventory, folder, gpu_access_accounts=["reader"]).succeeded()
    assert accepted(lab, kubeconfig(folder, "reader"))


def test_rotated_token_is_revoked(lab: Lab, inventory: Path, folder: Path) -> None:
    before = folder / "before"
    shutil.copy(kubeconfig(folder, "operator"), before)
    assert accepted(lab, before)
    bootstrap(lab, inventory, folder, gpu_access_state="rotated").succeeded()
    assert accepted(lab, kubeconfig(folder, "operator"))
    lab.wait_for(lambda: not accepted(lab, before))
    assert len([each for each in ours(lab) if each.startswith("Secret/")]) == len(ACCOUNTS)


def test_file_of_somebody_else_is_not_overwritten(lab: Lab, folder: Path) -> None:
    path = folder / "own"
    path.write_text("apiVersion: v1\nkind: Config\n", encoding="utf-8")
    arguments = {"account": "operator", "path": str(path)}
    assert str(path) in call(lab, "access_token", arguments)["msg"]
    assert path.read_text(encoding="utf-8").startswith("apiVersion")


@pytest.mark.full("another refusal by a whole run")
def test_helm_is_no_work_for_the_operator_account(lab: Lab, inventory: Path, folder: Path) -> None:
    lab.forget_requests()
    run = bootstrap(lab, inventory, folder, gpu_operator_manage="helm")
    run.fails_with("gpu_operator_manage", "existing", "gpu_access_accounts")
    assert lab.writes() == []


@pytest.mark.full("three runs of playbooks")
def test_undo_leaves_nothing(lab: Lab, inventory: Path, folder: Path) -> None:
    as_account(lab, folder, "operator", "uninstall", inventory).succeeded()
    bootstrap(lab, inventory, folder, gpu_access_state="absent").succeeded()
    assert ours(lab) == []
    assert not [path for path in folder.iterdir() if path.name.startswith("localhost")]
    again = bootstrap(lab, inventory, folder, gpu_access_state="absent").succeeded()
    assert again.changed == {"localhost": 0}
