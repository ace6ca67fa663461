# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings and command lines of the node's programs. Those of the control plane are the lab's, with
what a node that is real needs besides.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml
from gpulab import programs
from gpulab.programs import Files

from .image import SANDBOX
from .spaces import NODE_ADDRESS, POD_RANGE, WORK

PORTS = {"etcd": 12379, "etcd-peer": 12380, "apiserver": 443}
NODE = "gpu-node"
SOCKET = WORK / "containerd.sock"


@dataclass(frozen=True)
class Settings:
    """Where the node's programs find their settings."""

    files: Files
    cgroup: str

    @property
    def folder(self) -> Path:
        return self.files.folder

    @property
    def pki(self) -> Path:
        return self.files.ca.parent

    def write(self) -> None:
        """Write the settings of containerd, its network and the kubelet."""
        (self.folder / "containerd.toml").write_text(self._containerd(), encoding="utf-8")
        (self.folder / "cni.d").mkdir()
        network = self.folder / "cni.d" / "10-node.conflist"
        network.write_text(json.dumps(_network()), encoding="utf-8")
        kubelet = yaml.safe_dump(self._kubelet(), sort_keys=False)
        (self.folder / "kubelet.yaml").write_text(kubelet, encoding="utf-8")

    def _containerd(self) -> str:
        """CDI is containerd's own, without a runtime of NVIDIA's. Nothing is kept on the disk."""
        cri = "plugins.'io.containerd.cri.v1"
        runc = f"{cri}.runtime'.containerd.runtimes.runc"
        return f"""\
version = 3
root = "{WORK}/containerd"
state = "{WORK}/containerd-state"
[grpc]
  address = "{SOCKET}"
[plugins.'io.containerd.internal.v1.opt']
  path = "{WORK}/opt"
[{cri}.images'.pinned_images]
  sandbox = "{SANDBOX}"
[{cri}.runtime']
  enable_cdi = true
  cdi_spec_dirs = ["/var/run/cdi"]
  restrict_oom_score_adj = true
[{cri}.runtime'.cni]
  bin_dirs = ["{self.files.bin_dir}"]
  conf_dir = "{self.folder}/cni.d"
[{cri}.runtime'.containerd]
  default_runtime_name = "runc"
[{runc}]
  runtime_type = "io.containerd.runc.v2"
[{runc}.options]
  BinaryName = "{self.files.program("runc")}"
  SystemdCgroup = false
"""

    def _kubelet(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": str(self.files.ca)},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "volumePluginDir": f"{WORK}/volume-plugins",
            "tlsCertFile": str(self.pki / "kubelet-server.crt"),
            "tlsPrivateKeyFile": str(self.pki / "kubelet-server.key"),
            "resolvConf": "",
            "oomScoreAdj": 0,  # a machine may forbid less
            "maxPods": 60,
            # What others leave on the disk of this machine is not the node's business.
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "1%",
                "imagefs.inodesFree": "1%",
            },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
        }


def _network() -> dict[str, object]:
    """Every pod hangs on the node by a pair of interfaces. Nothing leads out."""
    return {
        "cniVersion": "0.4.0",
        "name": "node",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": f"{WORK}/cni",
                    "ranges": [[{"subnet": POD_RANGE}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }


def apiserver(settings: Settings) -> list[str]:
    """On 443, where the service address leads without a kube-proxy."""
    pki = settings.pki
    return [
        *programs.apiserver(settings.files, fairness=True),
        "--bind-address=0.0.0.0",
        f"--advertise-address={NODE_ADDRESS}",
        f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
    ]


def controller_manager(settings: Settings) -> list[str]:
    return [*programs.controller_manager(settings.files), "--node-monitor-grace-period=50s"]


def containerd(settings: Settings) -> list[str]:
    files = settings.files
    return [files.program("containerd"), "--config", str(files.folder / "containerd.toml")]


def kubelet(settings: Settings) -> list[str]:
    files = settings.files
    return [
        files.program("kubelet"),
        f"--config={files.folder / 'kubelet.yaml'}",
        f"--kubeconfig={files.kubeconfig_of('kubelet')}",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_ADDRESS}",
        f"--cert-dir={settings.pki}",
    ]


def gpusim(settings: Settings) -> list[str]:
    return [*programs.gpusim(settings.files, {}), "--operator-only"]
