# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command lines of the lab's programs, one function each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .pki import Pair

_BUSY = ["--kube-api-qps=2000", "--kube-api-burst=4000"]
_UNLIMITED = [
    "--max-requests-inflight=4000",
    "--max-mutating-requests-inflight=2000",
    "--enable-priority-and-fairness=false",
]


@dataclass(frozen=True)
class Files:
    """What the programs of one lab share."""

    folder: Path
    bin_dir: Path
    ports: Mapping[str, int]
    ca: Path
    server: Pair
    service_account_key: Path

    def program(self, name: str) -> str:
        return str(self.bin_dir / name)

    def kubeconfig_of(self, user: str) -> str:
        return str(self.folder / f"{user}.kubeconfig")

    @property
    def ready_file(self) -> Path:
        """Written by gpusim once its caches are filled."""
        return self.folder / "gpusim.ready"


def etcd(files: Files) -> list[str]:
    client, peer = (f"http://127.0.0.1:{files.ports[name]}" for name in ("etcd", "etcd-peer"))
    return [
        files.program("etcd"),
        f"--data-dir={files.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=8589934592",
        "--snapshot-count=1000000",
        "--log-level=warn",
    ]


def apiserver(files: Files, *, fairness: bool) -> list[str]:
    """With fairness its own limits hold, those of a cluster as it comes."""
    key = str(files.service_account_key)
    return [
        files.program("kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{files.ports['etcd']}",
        f"--secure-port={files.ports['apiserver']}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={files.server.cert}",
        f"--tls-private-key-file={files.server.key}",
        f"--client-ca-file={files.ca}",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.202.0.0/16",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        # Nodes are created Ready; this plugin would taint each of them until the manager looks.
        "--disable-admission-plugins=TaintNodesByCondition",
        f"--audit-policy-file={files.folder / 'audit-policy.yaml'}",
        f"--audit-log-path={files.folder / 'audit.log'}",
        "--audit-log-maxsize=100000",  # MB; by default a new file begins after 100
        "--profiling=false",
        "--watch-cache-sizes=nodes#10000,pods#20000",
        *([] if fairness else _UNLIMITED),
    ]


def controller_manager(files: Files) -> list[str]:
    config = files.kubeconfig_of("kube-controller-manager")
    return [
        files.program("kube-controller-manager"),
        f"--kubeconfig={config}",
        f"--service-account-private-key-file={files.service_account_key}",
        f"--root-ca-file={files.ca}",
        "--use-service-account-credentials=false",
        "--leader-elect=false",
        "--secure-port=0",
        # Simulated kubelets send no heartbeats and are never late.
        "--node-monitor-grace-period=100000h",
        "--controllers=*,-ttl-controller",  # it would write to every node
        "--concurrent-gc-syncs=40",
        "--profiling=false",
        *_BUSY,
    ]


def scheduler(files: Files) -> list[str]:
    config = files.kubeconfig_of("kube-scheduler")
    return [
        files.program("kube-scheduler"),
        f"--kubeconfig={config}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
        *_BUSY,
    ]


def kwok(files: Files, stages: Path) -> list[str]:
    return [
        files.program("kwok"),
        f"--kubeconfig={files.kubeconfig_of('kwok')}",
        f"--config={stages}",
    ]


def gpusim(files: Files, settings: Mapping[str, str], *, operator: bool = True) -> list[str]:
    """Without operator somebody else plays that, such as the real one."""
    options = [f"--{key.replace('_', '-')}={value}" for key, value in sorted(settings.items())]
    return [
        files.program("gpusim"),
        "run",
        f"--kubeconfig={files.kubeconfig_of('gpusim')}",
        f"--ready-file={files.ready_file}",
        *options,
        *([] if operator else ["--nodes-only"]),
    ]
