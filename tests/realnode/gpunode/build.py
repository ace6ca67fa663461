# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs of the node: the lab's control plane, and what makes a node of this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gpulab import build as lab
from gpulab.build import Program

from . import debs, native
from .paths import GO_DIR, unpacked_dir

_OF_THE_LAB = ("control plane", "gpusim", "etcd")
_K8S = "v1.37.2"
_PLUGIN = "v0.19.3"
_VERSION = "k8s.io/component-base/version"
_NVIDIA = "github.com/NVIDIA/k8s-device-plugin"
_CONTAINERD = "github.com/containerd/containerd/v2"
#: Symbols of NVML are resolved when they are called, in the library of the driver that is there.
_LAZY = "-Wl,-z,lazy"
_UNRESOLVED = "-Wl,--unresolved-symbols=ignore-in-object-files"
_ALLOWED = (("CGO_LDFLAGS_ALLOW", _UNRESOLVED),)


def _nvidia(name: str) -> Program:
    return Program(
        name,
        "nvidia",
        f"{_NVIDIA}/cmd/{name}",
        (name,),
        flags=(
            f"'-extldflags=-Wl,--export-dynamic {_UNRESOLVED} {_LAZY}'",
            f"-X {_NVIDIA}/internal/info.version={_PLUGIN}",
        ),
        root=GO_DIR,
        cgo=True,
        environment=_ALLOWED,
    )


def _containerd(name: str) -> Program:
    return Program(
        name,
        "containerd",
        f"{_CONTAINERD}/cmd/{name}",
        (name,),
        flags=(f"-X {_CONTAINERD}/version.Version=v2.3.2",),
        root=GO_DIR,
        tags=("no_btrfs", "no_devmapper", "no_zfs"),
    )


def programs() -> tuple[Program, ...]:
    """All that are built with Go, those of the lab first."""
    cache = f"{{cache}}/{debs.folder_name()}"
    runc = Program(
        "runc",
        "runc",
        "github.com/opencontainers/runc",
        ("runc",),
        flags=("-extldflags=-static", "-X main.version=1.4.2"),
        root=GO_DIR,
        tags=("seccomp", "netgo", "osusergo"),
        cgo=True,
        environment=(("PKG_CONFIG", f"{cache}/pkg-config"),),
    )
    kubelet = Program(
        "kubelet",
        "kubelet",
        "k8s.io/kubernetes/cmd/kubelet",
        ("kubelet",),
        flags=(
            f"-X {_VERSION}.gitVersion={_K8S} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=37",
        ),
        root=GO_DIR,
    )
    hook = Program(
        "nvidia-cdi-hook",
        "cdihook",
        "github.com/NVIDIA/nvidia-container-toolkit/cmd/nvidia-cdi-hook",
        ("nvidia-cdi-hook",),
        flags=(f"-extldflags={_LAZY}",),
        root=GO_DIR,
        cgo=True,
        environment=_ALLOWED,
    )
    return (
        *(program for program in lab.PROGRAMS if program.title in _OF_THE_LAB),
        kubelet,
        *map(_containerd, ("containerd", "containerd-shim-runc-v2", "ctr")),
        runc,
        *map(_nvidia, ("nvidia-device-plugin", "config-manager", "gpu-feature-discovery")),
        hook,
    )


def key() -> str:
    """A hash of everything that decides what the programs are, wherever they are built.

    That of runc tells of the distribution, whose libseccomp it has in it.
    """
    told = [*(program.key() for program in programs() if program.title != "runc"), native.key()]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def unpacked_key() -> str | None:
    """Of what `realnode unpack` has put in place; None: nothing."""
    file = unpacked_dir() / "key"
    return file.read_text(encoding="utf-8").strip() if file.exists() else None


def ready() -> Path | None:
    """The folder with all programs, if they are there: unpacked, or built before."""
    if unpacked_key() == key():
        return unpacked_dir() / "bin"
    built = lab.bin_dir(programs())
    if built is None or not native.folder().exists():
        return None
    return _with_others(built)


def build() -> Path:
    """Build what is missing and return the folder with all programs."""
    debs.ensure()
    native.build()
    return _with_others(lab.build(programs()))


def _with_others(built: Path) -> Path:
    found = {path.name: path.resolve() for path in built.iterdir()}
    return lab.links(found | native.programs() | debs.programs())
