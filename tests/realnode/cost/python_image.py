# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image made on the spot, without network: a Python of this machine, the libraries that it and
its packages need, and programs of ours.

`python_image.py OUT.tar [--name NAME] [--python PATH] [--packages FOLDER] [--file FROM=TO]` writes
what `ctr -n k8s.io images import OUT.tar` takes. The packages themselves stay outside: pods
mount their folder. So do the driver's libraries: CDI brings them.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("dev", "etc/ld.so.conf.d", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin")
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/nsswitch.conf": "hosts: files\n",
    "etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n/usr/lib/x86_64-linux-gnu\n",
}
# Of the driver, which CDI mounts, and of CUDA's toolkit, which pods mount
ELSEWHERE = ("/usr/local/nvidia/", "/usr/local/cuda")
DRIVER = re.compile(r"lib(cuda|nvidia-[a-z0-9-]+|nvcuvid)\.so")
LEFT_OUT = (
    *("test", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "__phello__"),
    *("dist-packages", "site-packages", "config-"),
)
# Packages whose native code is looked through for what it needs
LOOKED = (
    *("torch/lib/*.so*", "torch/_C*.so", "numpy/**/*.so", "ml_dtypes/*.so", "nvidia/**/*.so*"),
    *("jaxlib/*.so", "jaxlib/**/*.so", "jax_plugins/**/*.so", "jax_cuda*/**/*.so"),
)
# Asked for by name while a program runs
LIBRARIES = ("libnss_files.so.2", "libgcc_s.so.1", "libstdc++.so.6", "librt.so.1", "libdl.so.2")


@dataclass(frozen=True)
class Interpreter:
    """A Python, and where its standard library is."""

    executable: Path  # as it was named, maybe of a virtual environment
    stdlib: Path
    native: Path  # the extension modules of the standard library
    packages: Path


def ask(python: str) -> Interpreter:
    """Ask an interpreter where it is at home."""
    code = (
        "import json, sys, sysconfig; p = sysconfig.get_path; print(json.dumps("
        "[sys.executable, p('stdlib'), sysconfig.get_config_var('DESTSHARED'), p('purelib')]))"
    )
    said = subprocess.run([python, "-c", code], check=True, text=True, capture_output=True)
    executable, stdlib, native, packages = map(Path, json.loads(said.stdout))
    return Interpreter(executable, stdlib, native, packages)


def links_of(path: Path) -> Iterator[tuple[Path, str]]:
    """The links that lead from a path to a file, each with where it points; those of folders on the
    way are not among them.
    """
    for _turn in range(20):
        if not path.is_symlink():
            return
        target = os.readlink(path)  # noqa: PTH115  (the text of the link)
        yield path, target
        path = Path(os.path.normpath(path.parent / target))


def read_ldd(text: str) -> Iterator[Path]:
    """The files that ldd has found, without those that pods get from elsewhere."""
    for found in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", text, flags=re.MULTILINE):
        if not DRIVER.match(Path(found).name) and not found.startswith(ELSEWHERE):
            yield Path(found)


def needed(files: Iterable[Path], packages: Path) -> set[Path]:
    """Libraries of this machine that the files need, outside of the packages' folder."""

    def look(file: Path) -> set[Path]:
        command = ["ldd", str(file)]
        said = subprocess.run(command, check=False, text=True, capture_output=True, timeout=120)
        return set(read_ldd(said.stdout))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = set().union(*pool.map(look, files))
    return {path for path in found if not path.is_relative_to(packages)}


def named_libraries(names: Iterable[str]) -> Iterator[Path]:
    folders = [Path("/usr/lib/x86_64-linux-gnu"), Path("/lib/x86_64-linux-gnu"), Path("/usr/lib64")]
    for name in names:
        found = (folder / name for folder in folders if (folder / name).exists())
        if (path := next(found, None)) is not None:
            yield path


class Layer:
    """The one layer of an image, as a tar in memory. A path is added once."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w")  # noqa: SIM115  (closed in content)
        self._there: set[str] = set()

    def _new(self, name: str) -> str | None:
        """The name in the tar, below usr where the image has a link; None: it is there already."""
        name = name.lstrip("/")
        first, slash, rest = name.partition("/")
        name = LINKS[first] + slash + rest if slash and first in LINKS else name
        if name in self._there:
            return None
        self._there.add(name)
        return name

    def folder(self, name: str) -> None:
        if new := self._new(name):
            entry = tarfile.TarInfo(new)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if new == "tmp" else 0o755
            self._tar.addfile(entry)

    def link(self, name: str, target: str) -> None:
        if new := self._new(name):
            entry = tarfile.TarInfo(new)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            self._tar.addfile(entry)

    def text(self, name: str, content: str) -> None:
        if new := self._new(name):
            entry = tarfile.TarInfo(new)
            entry.size = len(content.encode())
            self._tar.addfile(entry, io.BytesIO(content.encode()))

    def file(self, source: Path, name: str) -> None:
        """A file's content under a name, whatever links lead to it."""
        if new := self._new(name):
            entry = self._tar.gettarinfo(str(source.resolve()), new)
            entry.type, entry.linkname, entry.uid, entry.gid = tarfile.REGTYPE, "", 0, 0
            entry.size = source.stat().st_size  # also of what has two names
            with source.open("rb") as content:
                self._tar.addfile(entry, content)

    def tree(self, root: Path, left_out: tuple[str, ...]) -> None:
        """All files below a folder, at the same place, without folders whose names begin so."""
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(left_out)]
            for name in files:
                path = Path(folder) / name
                if path.is_file():
                    self.file(path, str(path))

    def content(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()


def fill(layer: Layer, python: Interpreter, packages: Path) -> None:
    """Put an interpreter into a layer, with all that it needs."""
    for name in FOLDERS:
        layer.folder(name)
    for name, target in LINKS.items():
        layer.link(name, target)
    for name, text in TEXTS.items():
        layer.text(name, text)
    for path, target in links_of(python.executable):
        if not path.is_relative_to(packages):
            layer.link(str(path), target)
    program = python.executable.resolve()
    layer.file(program, str(program))
    layer.tree(python.stdlib, LEFT_OUT)
    if not python.native.is_relative_to(python.stdlib):
        layer.tree(python.native, LEFT_OUT)
    patterns = [*python.native.glob("*.so"), *(p for g in LOOKED for p in python.packages.glob(g))]
    libraries = needed([program, *patterns], packages) | set(named_libraries(LIBRARIES))
    for path in sorted(libraries):
        layer.file(path, str(path))


def write(layer: bytes, name: str, out: Path) -> None:
    """Write an image of one layer in the form of `docker save`."""
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/usr/sbin"], "Cmd": ["/usr/bin/load"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created_by": "python_image.py"}],
        }
    ).encode()
    of_config = hashlib.sha256(config).hexdigest()
    manifest = [
        {"Config": f"{of_config}.json", "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}
    ]
    with tarfile.open(out, "w") as archive:
        for path, data in (
            (f"{digest}/layer.tar", layer),
            (f"{of_config}.json", config),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def build(out: Path, name: str, python: str, packages: Path, files: dict[str, Path]) -> int:
    """Build the image; files are put under their names. Returns the size of its layer in bytes."""
    layer = Layer()
    fill(layer, ask(python), packages)
    libraries = needed(files.values(), packages)
    for target, source in files.items():
        layer.file(source, target)
    for path in sorted(libraries):
        layer.file(path, str(path))
    content = layer.content()
    write(content, name, out)
    return len(content)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python_image.py", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", default="localhost/cost:1")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--packages", type=Path, default=Path("/opt/torch"), help="stays outside")
    parser.add_argument("--file", action="append", default=[], metavar="FROM=TO")
    options = parser.parse_args(arguments)
    pairs = (each.partition("=") for each in options.file)
    files = {to: Path(source) for source, _sign, to in pairs}
    size = build(options.out, options.name, options.python, options.packages, files)
    print(f"{options.out}: {options.name}, {size >> 20} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
