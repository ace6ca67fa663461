# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one image of the node, made of files of this machine, under every name that is needed."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gpulab.errors import LabError

REPOSITORY = "localhost/gpufleet"
PLUGIN_VERSION = "v0.19.3"
OPERATOR_VERSION = "v26.7.0"
SANDBOX = f"{REPOSITORY}/pause:1"
PLUGIN = f"{REPOSITORY}/k8s-device-plugin:{PLUGIN_VERSION}"
OPERATOR = f"{REPOSITORY}/gpu-operator:{OPERATOR_VERSION}"
PROBE = f"{REPOSITORY}/probe:1"
NAMES = (SANDBOX, PLUGIN, OPERATOR, PROBE)
_PROGRAMS = ("nvidia-device-plugin", "config-manager", "gpu-feature-discovery", "pause")
_FOLDERS = (
    "usr/bin",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib64",
    "etc/ld.so.conf.d",
    "tmp",
    "proc",
    "sys",
    "dev",
    "run",
    "root",
    "var",
    "config",
    "available-configs",
    "driver-root",
    "host",
    "mps",
)
_LINKS = {
    "bin": "usr/bin",
    "sbin": "usr/bin",
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "var/run": "/run",
    "pause": "usr/bin/pause",
    "usr/bin/gpu-operator": "pause",  # its part is played outside; the Deployment is Available
}
#: Of the C library; NVIDIA's own programs and CUDA programs need no more.
_LIBRARIES = (
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libresolv.so.2",
    "libutil.so.1",
    "libnss_files.so.2",
    "libgcc_s.so.1",
    "libstdc++.so.6",
)
_LOADER = "ld-linux-x86-64.so.2"
_PLACES = ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n/usr/lib/x86_64-linux-gnu\n",
}
_CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Entrypoint": ["/pause"]},
}


def write(bin_dir: Path, target: Path, others: Mapping[str, Path]) -> None:
    """Write the image as an archive that containerd imports; others: more programs for it."""
    with tempfile.TemporaryDirectory(prefix="realnode-image-") as folder:
        root = Path(folder)
        _fill(root, bin_dir, others)
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            archive.add(root, arcname=".", filter=_owned_by_root)
    _archive(target, layer.getvalue())


def _fill(root: Path, bin_dir: Path, others: Mapping[str, Path]) -> None:
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for name, text in _FILES.items():
        (root / name).write_text(text, encoding="utf-8")
    programs = {name: bin_dir / name for name in (*_PROGRAMS, "busybox")} | dict(others)
    for name, path in programs.items():
        shutil.copy(path, root / "usr/bin" / name)
        (root / "usr/bin" / name).chmod(0o755)
    for library in _LIBRARIES:
        if found := _library(library):
            shutil.copy(found, root / "usr/lib/x86_64-linux-gnu" / library)
    loader = _library(_LOADER)
    if loader is None:
        raise LabError(f"the C library of this machine has no {_LOADER}")
    shutil.copy(loader, root / "usr/lib64" / _LOADER)
    for name, to in _LINKS.items():
        (root / name).symlink_to(to)
    for applet in _applets(bin_dir / "busybox"):
        if not (root / "usr/bin" / applet).exists():
            (root / "usr/bin" / applet).symlink_to("busybox")


def _applets(busybox: Path) -> list[str]:
    """Not ldconfig: the hooks of CDI bring the machine's own."""
    listed = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split() if name not in ("busybox", "ldconfig")]


def _library(name: str) -> Path | None:
    return next((Path(p, name).resolve() for p in _PLACES if Path(p, name).exists()), None)


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _archive(target: Path, layer: bytes) -> None:
    digest = hashlib.sha256(layer).hexdigest()
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
    config = json.dumps(_CONFIG | {"rootfs": rootfs}).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": list(NAMES), "Layers": [f"{digest}/layer.tar"]}]
    entries = {
        f"{digest}/layer.tar": layer,
        name: config,
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(target, "w") as archive:
        for path, data in entries.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
