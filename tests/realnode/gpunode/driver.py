# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The root of the NVIDIA driver, in the shape that the operator's driver container leaves behind.

It lies in /run/nvidia/driver: programs, libraries, and dev, without which no GPU pod starts while
allocatable looks right. The real driver is bound in there; the stand-in is copied.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from .shell import mount

ROOT = Path("/run/nvidia/driver")
VALIDATIONS = Path("/run/nvidia/validations")
TOOLKIT = Path("/run/realnode/toolkit")  # the operator's toolkit.installDir
VERSION = "580.95.05"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_PLACES = ("/usr/local/nvidia/lib64", f"/{_LIBRARIES}", "/usr/lib64")
_PROGRAMS = ("/usr/local/nvidia/bin", "/usr/bin", "/usr/local/bin")
_CUDA = 13000
_MAJOR = 195  # of NVIDIA's device nodes; without its module nobody answers there
_OTHERS = {"nvidiactl": (_MAJOR, 255), "nvidia-uvm": (510, 0), "nvidia-uvm-tools": (510, 1)}
_FLAGS = f"""\
NVIDIA_DRIVER_ROOT={ROOT}
DRIVER_ROOT_CTR_PATH=/driver-root
NVIDIA_DEV_ROOT={ROOT}
DEV_ROOT_CTR_PATH=/driver-root
"""


@dataclass(frozen=True)
class Driver:
    """Where a real driver keeps its libraries and programs."""

    libraries: Path
    programs: Path


def find() -> Driver | None:
    """The driver of this machine, when there is a GPU."""
    if physical_gpus() == 0:
        return None
    libraries = next((p for p in map(Path, _PLACES) if (p / "libnvidia-ml.so.1").exists()), None)
    programs = next((p for p in map(Path, _PROGRAMS) if (p / "nvidia-smi").exists()), None)
    return Driver(libraries, programs) if libraries and programs else None


def physical_gpus() -> int:
    """Device nodes of GPUs on this machine."""
    return len([p for p in Path("/dev").glob("nvidia*") if p.name[6:].isdigit()])


def uuid(number: int) -> str:
    """Of a GPU of the stand-in."""
    return f"GPU-5ca1ab1e-0000-4000-8000-{number:012d}"


def lay_out(bin_dir: Path, gpus: int, *, stand_in: bool) -> None:
    """Make the driver root, the toolkit's folder, and the marks that both are ready."""
    for folder in ("usr/bin", _LIBRARIES, "etc", "dev"):
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
    if stand_in:
        _copy_stand_in(bin_dir, gpus)
    else:
        found = find()
        assert found is not None
        mount("--bind", found.programs, ROOT / "usr/bin")
        mount("--bind", found.libraries, ROOT / _LIBRARIES)
    mount("--rbind", "/dev", ROOT / "dev")
    (TOOLKIT / "toolkit").mkdir(parents=True)
    shutil.copy(bin_dir / "nvidia-cdi-hook", TOOLKIT / "toolkit")
    VALIDATIONS.mkdir(parents=True)
    (VALIDATIONS / "driver-ready").write_text(_FLAGS, encoding="utf-8")
    (VALIDATIONS / "toolkit-ready").touch()


def hardware(gpus: int) -> str:
    """The file that the stand-in answers from."""
    lines = [f"driver {VERSION}", f"cuda {_CUDA}"]
    lines += [f"gpu {uuid(n)} {n} 81559 9 0 NVIDIA H100 80GB HBM3" for n in range(gpus)]
    return "".join(f"{line}\n" for line in lines)


def hardware_file() -> Path:
    """Where CDI takes it for a part of the driver, so that it is in every GPU pod too."""
    return ROOT / f"lib/firmware/nvidia/{VERSION}/gsp_standin.bin"


def _copy_stand_in(bin_dir: Path, gpus: int) -> None:
    for library in ("libnvidia-ml.so", "libcuda.so"):
        target = ROOT / _LIBRARIES / f"{library}.{VERSION}"
        shutil.copy(bin_dir / library, target)
        target.with_name(f"{library}.1").symlink_to(target.name)
    shutil.copy(bin_dir / "nvidia-smi", ROOT / "usr/bin")
    hardware_file().parent.mkdir(parents=True)
    hardware_file().write_text(hardware(gpus), encoding="utf-8")


def make_devices(target: Path, gpus: int) -> None:
    """Fill a folder with the device nodes of /dev, and with those of the stand-in's GPUs."""
    for entry in sorted(Path("/dev").iterdir()):
        _take_over(entry, target / entry.name)
    numbers = {f"nvidia{n}": (_MAJOR, n) for n in range(gpus)} | _OTHERS
    for name, (major, minor) in numbers.items():
        _node(target / name, 0o666, os.makedev(major, minor))


def _take_over(entry: Path, target: Path) -> None:
    found = entry.lstat()
    if stat.S_ISLNK(found.st_mode):
        target.symlink_to(entry.readlink())
    elif stat.S_ISDIR(found.st_mode):
        target.mkdir()
        mount("--rbind", entry, target)
    elif stat.S_ISCHR(found.st_mode):
        _node(target, stat.S_IMODE(found.st_mode), found.st_rdev)


def _node(path: Path, mode: int, device: int) -> None:
    os.mknod(path, stat.S_IFCHR | mode, device)
    path.chmod(mode)
