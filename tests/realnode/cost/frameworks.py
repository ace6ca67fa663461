# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a pod: how much GPU memory a framework takes under the settings that it was started with.

`frameworks.py pytorch|jax NAME [FRACTION]` takes and gives back 10 GiB, then 30 GiB, and prints one
line of JSON. FRACTION is for torch.cuda.set_per_process_memory_fraction. Everything else is set by
the environment of the pod. Nothing but the standard library and the framework is needed.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

GIB = 2**30
ASKED = (10, 30)  # GiB
SETTINGS = ("PYTORCH_", "XLA_", "TF_GPU")


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def used_mib() -> float | None:
    """MiB of the GPU in use by everybody, without taking any; None where NVML does not tell."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    handle, memory = ctypes.c_void_p(), _Memory()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)):
        return None
    if nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)):
        return None
    return float(memory.used) / 2**20


def pytorch(fraction: str) -> tuple[Callable[[int], None], Callable[[], float]]:
    """Return what takes GiB and gives them back, and what tells the MiB that are reserved."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    if fraction:
        torch.cuda.set_per_process_memory_fraction(float(fraction))

    def take(gib: int) -> None:
        taken = torch.empty(gib * GIB, dtype=torch.uint8, device="cuda")
        taken.fill_(1)
        torch.cuda.synchronize()
        del taken
        torch.cuda.empty_cache()

    torch.zeros(1, device="cuda")
    torch.cuda.synchronize()
    return take, lambda: float(torch.cuda.memory_reserved()) / 2**20


def jax(_fraction: str) -> tuple[Callable[[int], None], Callable[[], float]]:
    """The same for JAX."""
    import jax as library  # type: ignore[import-not-found, unused-ignore]
    import jax.numpy as jnp  # type: ignore[import-not-found, unused-ignore]

    device = library.devices("gpu")[0]
    jnp.zeros((8,), jnp.uint8).block_until_ready()

    def take(gib: int) -> None:
        jnp.zeros((gib, GIB), jnp.uint8).block_until_ready()

    def reserved() -> float:
        told = device.memory_stats() or {}
        return float(told.get("pool_bytes", told.get("bytes_reserved", 0))) / 2**20

    return take, reserved


FRAMEWORKS = {"pytorch": pytorch, "jax": jax}
PACKAGES = {"pytorch": "torch", "jax": "jax"}


def attempt(take: Callable[[int], None], gib: int) -> dict[str, object]:
    try:
        take(gib)
    except (RuntimeError, MemoryError, ValueError) as error:
        return {"gib": gib, "taken": False, "error": f"{type(error).__name__}: {error}"[:400]}
    return {"gib": gib, "taken": True, "error": ""}


def main(framework: str, name: str, fraction: str = "") -> int:
    began, before = time.monotonic(), used_mib()
    found: dict[str, object] = {
        "name": name,
        "framework": framework,
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(SETTINGS)},
        "fraction": fraction,
        "used_before_mib": before,
    }
    try:
        found["version"] = version(PACKAGES[framework])
        take, reserved = FRAMEWORKS[framework](fraction)
    except (ImportError, OSError, RuntimeError, MemoryError, ValueError) as error:
        found["error"] = f"{type(error).__name__}: {error}"[:400]
        print(json.dumps(found), flush=True)
        return 1
    found["started_seconds"] = round(time.monotonic() - began, 1)
    found["reserved_mib"] = round(reserved(), 1)
    found["used_after_mib"] = used_mib()
    found["attempts"] = [attempt(take, gib) for gib in ASKED]
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
