# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What comes from the distribution's packages, unpacked into the cache; nothing is installed."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from gpulab.errors import LabError
from gpulab.paths import cache_dir

_PACKAGES = ("libseccomp-dev", "busybox-static", "containernetworking-plugins")
_PROGRAMS = {
    "busybox": "bin/busybox",
    "ptp": "usr/lib/cni/ptp",
    "host-local": "usr/lib/cni/host-local",
    "loopback": "usr/lib/cni/loopback",
}
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
#: Stands in for pkg-config, which would point at a system where nothing has been installed.
_FLAGS = f"""\
#!/bin/sh
case "$*" in
  *--cflags*) echo "-I{{root}}/usr/include" ;;
  *) echo "-L{{root}}/{_LIBRARIES} -lseccomp" ;;
esac
"""


def folder_name() -> str:
    """Of the unpacked packages in the cache: another distribution has others."""
    release = platform.freedesktop_os_release()
    told = (_PACKAGES, release.get("ID"), release.get("VERSION_ID"))
    return f"realnode-debs-{hashlib.sha256(repr(told).encode()).hexdigest()[:12]}"


def ensure() -> Path:
    """The folder with the packages' files, downloaded when it is not there."""
    root = cache_dir() / folder_name()
    if root.exists():
        return root
    cache_dir().mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=cache_dir(), prefix=".debs-"))
    try:
        _download(temporary)
        for package in temporary.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, temporary], check=True)
            package.unlink()
        flags = temporary / "pkg-config"
        flags.write_text(_FLAGS.format(root=root), encoding="utf-8")
        flags.chmod(0o755)
        temporary.chmod(0o755)
        temporary.rename(root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return root


def programs() -> dict[str, Path]:
    root = ensure()
    return {name: _first(root, place) for name, place in _PROGRAMS.items()}


def _first(root: Path, place: str) -> Path:
    """Debian and Ubuntu disagree about usr/."""
    for path in (root / place, root / "usr" / place):
        if path.exists():
            return path
    raise LabError(f"the packages {', '.join(_PACKAGES)} have no {place}")


def _download(folder: Path) -> None:
    command = ["apt-get", "download", *_PACKAGES]
    for again in (True, False):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if again:  # on a fresh machine apt knows no packages yet
            subprocess.run(["apt-get", "update"], capture_output=True, check=False)
    raise LabError(f"{' '.join(command)} failed: {done.stderr.strip()}")
