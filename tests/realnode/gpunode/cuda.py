# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CUDA program that pods of the probe run on a real GPU, compiled where the GPU is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from .paths import HERE

LOOK = "cuda-look"
_PLACES = ("/usr/local/cuda/bin/nvcc",)


def compile_look(folder: Path) -> dict[str, Path]:
    """The program by its name; nothing where nvcc is missing or fails, which is said."""
    nvcc = shutil.which("nvcc") or next((p for p in _PLACES if Path(p).exists()), None)
    if nvcc is None:
        print("realnode: no nvcc: pods use nvidia-smi, not CUDA", file=sys.stderr)
        return {}
    program = folder / LOOK
    command: list[str | Path] = [
        nvcc,
        "-O2",
        "-arch=native",
        "-cudart=static",
        "-o",
        program,
        HERE / "image/look.cu",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"realnode: pods use nvidia-smi, not CUDA: nvcc: {done.stderr}", file=sys.stderr)
        return {}
    return {LOOK: program}
