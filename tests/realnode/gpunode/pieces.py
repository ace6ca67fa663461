# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that the node and its tests need, in pieces for a machine without network.

A piece is a part of one compressed archive. Putting them in place needs a bare Python only.
"""

from __future__ import annotations

import argparse
import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gpulab.errors import LabError

from .paths import PIECES, unpacked_dir

PYTHON = (3, 12)  # of the machine without network
_SIZE = 55_000_000
_CHUNK = 1 << 20
_COMPRESS = ("xz", "-6", "-T0", "-c")
#: Program -> where its main() is. pip's own would name the Python that packed them.
_SCRIPTS = {
    "ansible": "ansible.cli.adhoc",
    "ansible-playbook": "ansible.cli.playbook",
    "pytest": "pytest",
}


def pack(bin_dir: Path, key: str, folder: Path) -> None:
    """Write the pieces into the folder, and say how large they are."""
    from . import wheels

    with tempfile.TemporaryDirectory(prefix="realnode-pack-") as staging:
        root = Path(staging)
        _copy_programs(bin_dir, root / "bin")
        wheels.install(root / "python" / "lib" / _version("python{}.{}") / "site-packages", PYTHON)
        (root / "key").write_text(f"{key}\n", encoding="utf-8")
        _write_pieces(root, folder)
    for piece in _pieces(folder):
        print(f"{piece}  {piece.stat().st_size / 1e6:.1f} MB")


def _version(form: str) -> str:
    return form.format(*PYTHON)


def _copy_programs(bin_dir: Path, target: Path) -> None:
    """Files once; further names of one are links."""
    target.mkdir()
    names: dict[Path, str] = {}
    for path in sorted(bin_dir.iterdir()):
        real = path.resolve()
        if real in names:
            (target / path.name).symlink_to(names[real])
        else:
            names[real] = path.name
            shutil.copy(real, target / path.name)


def _write_pieces(root: Path, folder: Path) -> None:
    if folder.exists():
        for piece in folder.glob("piece.*"):
            piece.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    with (
        subprocess.Popen(
            ["tar", "--owner=0", "--group=0", "-C", str(root), "-c", "."], stdout=subprocess.PIPE
        ) as tar,
        subprocess.Popen(_COMPRESS, stdin=tar.stdout, stdout=subprocess.PIPE) as xz,
    ):
        assert xz.stdout is not None
        number = 0
        while _write_piece(xz.stdout, folder / f"piece.{number:02}"):
            number += 1
    if tar.returncode or xz.returncode:
        raise LabError(f"packing failed: tar {tar.returncode}, xz {xz.returncode}")


def _write_piece(source: IO[bytes], piece: Path) -> bool:
    """False, and no file, when nothing was left."""
    left = _SIZE
    with piece.open("wb") as sink:
        while left and (data := source.read(min(left, _CHUNK))):
            left -= len(data)
            sink.write(data)
    if left == _SIZE:
        piece.unlink()
    return left < _SIZE


def _pieces(folder: Path) -> list[Path]:
    return sorted(folder.glob("piece.*"))


def command(arguments: list[str]) -> int:
    """`realnode unpack [DIR]`, without any package."""
    parser = argparse.ArgumentParser(prog="realnode unpack", description=unpack.__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=PIECES)
    return unpack_command(parser.parse_args(arguments[1:]))


def unpack_command(options: argparse.Namespace) -> int:
    try:
        unpack(options.folder)
    except LabError as err:
        print(f"realnode: {err}", file=sys.stderr)
        return 1
    return 0


def unpack(folder: Path) -> None:
    """Put the pieces of a folder in place: programs, and a Python with the packages."""
    if sys.version_info[:2] != PYTHON:
        raise LabError(f"the pieces are for {_version('Python {}.{}')}, this is {sys.version}")
    pieces = _pieces(folder)
    if not pieces:
        raise LabError(f"{folder} has no pieces; make them elsewhere: realnode pack {folder}")
    target = unpacked_dir()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with _joined(pieces) as source, tarfile.open(fileobj=source, mode="r|") as archive:
        # Python before 3.11.4 knows no filters; the pieces are our own.
        if hasattr(tarfile, "tar_filter"):
            archive.extraction_filter = tarfile.tar_filter
        archive.extractall(target)
    _finish_python(target / "python")
    print(f"unpacked into {target}")


@contextmanager
def _joined(pieces: list[Path]) -> Iterator[IO[bytes]]:
    """The pieces as one stream, not compressed any more; xz is faster where it is there."""
    with subprocess.Popen(["cat", *pieces], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        if shutil.which("xz") is None:
            with lzma.open(cat.stdout) as stream:
                yield stream
            return
        with subprocess.Popen(["xz", "-dc", "-T0"], stdin=cat.stdout, stdout=subprocess.PIPE) as xz:
            assert xz.stdout is not None
            yield xz.stdout


def _finish_python(venv: Path) -> None:
    """Make a virtual environment of the packages, of this machine's Python."""
    real = Path(sys.executable).resolve()
    text = f"home = {real.parent}\ninclude-system-site-packages = false\n"
    (venv / "pyvenv.cfg").write_text(text, encoding="utf-8")
    (venv / "bin").mkdir()
    python = venv / "bin" / "python"
    python.symlink_to(real)
    for name, module in _SCRIPTS.items():
        script = venv / "bin" / name
        text = f"#!{python}\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)
