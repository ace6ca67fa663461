# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The small C parts: pause, and the stand-ins for the driver's libraries and for nvidia-smi."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gpulab.errors import LabError
from gpulab.paths import cache_dir

from .paths import HERE

_COMMON = ("-O2", "-s", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
_SHARED = ("-shared", "-fPIC", "-fvisibility=hidden")


@dataclass(frozen=True)
class Part:
    """One file of C that gcc makes a program or a library of."""

    name: str
    source: str
    flags: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        return ["gcc", *_COMMON, "-o", self.name, str(HERE / self.source), *self.flags]


PARTS = (
    Part("pause", "image/pause.c", ("-static",)),
    Part("libnvidia-ml.so", "nvml/nvml.c", (*_SHARED, "-Wl,-soname,libnvidia-ml.so.1", "-ldl")),
    Part("libcuda.so", "nvml/cuda.c", (*_SHARED, "-Wl,-soname,libcuda.so.1")),
    Part("nvidia-smi", "nvml/smi.c", ("-ldl",)),
)


def key() -> str:
    """A hash of the sources and of how they are compiled."""
    digest = hashlib.sha256(repr((_COMMON, [(p.name, p.flags) for p in PARTS])).encode())
    for part in PARTS:
        digest.update((HERE / part.source).read_bytes())
    return digest.hexdigest()[:16]


def folder() -> Path:
    return cache_dir() / "bin" / f"realnode-c-{key()}"


def programs() -> dict[str, Path]:
    return {part.name: folder() / part.name for part in PARTS}


def build() -> None:
    """Compile what is not in the cache."""
    target = folder()
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".build-"))
    temporary.chmod(0o755)
    try:
        for part in PARTS:
            done = subprocess.run(
                part.command, cwd=temporary, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise LabError(f"{' '.join(part.command)} failed:\n{done.stderr}")
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
