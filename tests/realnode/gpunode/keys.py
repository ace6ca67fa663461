# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys, certificates and kubeconfigs of the node."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gpulab.cluster import AUDIT_POLICY
from gpulab.kubeconfig import API_NAMES, Server, issue
from gpulab.pki import Authority, Pair
from gpulab.programs import Files

from .settings import NODE, PORTS
from .spaces import NODE_ADDRESS, SERVICE_ADDRESS

_MASTERS = "system:masters"
#: Certificate -> user and group. Each has a name of its own, for the audit log.
_USERS: Mapping[str, tuple[str, str]] = {
    "admin": ("lab-admin", _MASTERS),
    "setup": ("lab-setup", _MASTERS),
    "features": ("lab-features", _MASTERS),
    "gpusim": ("lab-gpusim", _MASTERS),
    "kube-controller-manager": ("system:kube-controller-manager", _MASTERS),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "kubelet-client": ("lab-apiserver", _MASTERS),
}


def create(folder: Path, bin_dir: Path) -> Files:
    """Write them into the folder and return what the control plane needs to know."""
    authority = Authority(folder / "pki")
    addresses = ["127.0.0.1", SERVICE_ADDRESS, NODE_ADDRESS]
    authority.server("apiserver", list(API_NAMES), addresses)
    server = Server("realnode", f"https://127.0.0.1:{PORTS['apiserver']}", authority.cert)
    issue(authority, server, _USERS, folder)
    authority.server("kubelet-server", [NODE], [NODE_ADDRESS])
    authority.service_account_key()
    (folder / "audit-policy.yaml").write_text(AUDIT_POLICY, encoding="utf-8")
    return files(folder, bin_dir)


def files(folder: Path, bin_dir: Path) -> Files:
    """What the programs share, once the keys are there."""
    pki = folder / "pki"
    server = Pair(pki / "apiserver.crt", pki / "apiserver.key")
    return Files(folder, bin_dir, PORTS, pki / "ca.crt", server, pki / "sa.key")


def pair(folder: Path, name: str) -> Pair:
    return Pair(folder / "pki" / f"{name}.crt", folder / "pki" / f"{name}.key")
