# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Python packages for another machine: Ansible, kubernetes.core and pytest, pinned as for make."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from gpulab.errors import LabError
from packaging.requirements import Requirement

from .paths import ROOT

_REQUIREMENTS = ROOT / "tests" / "requirements"
_WANTED = ("ansible-core", "kubernetes", "PyYAML", "pytest", "cryptography")
#: The collection comes with this package, which is too large to carry.
_ANSIBLE, _COLLECTION = "ansible", "ansible_collections/kubernetes/"
_PLATFORMS = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64")
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")


def install(target: Path, python: tuple[int, int]) -> None:
    """Fill a folder that becomes the site-packages of that Python, which need not be here."""
    version = f"{python[0]}.{python[1]}"
    pins = {pin.name.lower(): pin for pin in _pins(version)}
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="realnode-wheels-") as folder:
        wheels = Path(folder) / "wheels"
        constraints = Path(folder) / "constraints.txt"
        fixed = [f"{pin.name}{pin.specifier}" for pin in pins.values()]
        constraints.write_text("\n".join(fixed), encoding="utf-8")
        wanted = [f"{name}{pins[name.lower()].specifier}" for name in _WANTED]
        given = ["--only-binary=:all:", "--python-version", version, "--implementation", "cp"]
        given += [f"--platform={platform}" for platform in _PLATFORMS]
        _pip("download", "--dest", wheels, *given, "-c", constraints, *wanted)
        for wheel in sorted(wheels.glob("*.whl")):
            _take(wheel, target, "")
        ansible = f"{_ANSIBLE}{pins[_ANSIBLE].specifier}"
        _pip("download", "--no-deps", "--dest", folder, *given, ansible)
        _take(next(Path(folder).glob("ansible-*.whl")), target, _COLLECTION)


def _pins(version: str) -> Iterator[Requirement]:
    """What is pinned for that Python, in constraints.txt and tools.txt."""
    surroundings = {"python_version": version, "python_full_version": f"{version}.0"}
    for name in ("constraints.txt", "tools.txt"):
        for line in (_REQUIREMENTS / name).read_text(encoding="utf-8").splitlines():
            text = line.partition("#")[0].strip()
            if not text:
                continue
            pin = Requirement(text)
            if pin.marker is None or pin.marker.evaluate(surroundings):
                yield pin


def _take(wheel: Path, target: Path, beginning: str) -> None:
    """Unpack what begins so. Scripts are not needed: `unpack` writes those that are."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(beginning)]
        archive.extractall(target, [name for name in names if ".data/" not in name])


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, *_PIP, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(command)} failed: {done.stderr.strip()}")
