# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the result of a step depends on, as one hash.

A step declares paths (checks.py). Added to these are the modules that its tests import, which are
read from the source, and what every step depends on: the versions of all packages, Python, the
programs that are not ours, and the variables that tests read.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from importlib.metadata import distributions
from pathlib import Path, PurePosixPath

from collection_tree import listed_files

PACKAGE = "ansible_collections.gpufleet.sharing."
DOTTED = re.compile(re.escape(PACKAGE) + r"([\w.]+)")  # also in code that a test passes as a string
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]*(\([^)]*\)|.*)|import[ \t]+(.*))",
    re.MULTILINE,
)
WORD = re.compile(r"[\w.]+")
# Every step depends on these
ALWAYS = (
    "pyproject.toml",
    "tests/conftest.py",
    "tests/requirements",
    "tests/tools/collection_tree.py",
    "tests/tools/inputs.py",
    "tests/tools/passed.py",
    "tests/tools/run_checks.py",
)
VARIABLES = ("CHROMIUM", "DIFFERENTIAL_", "FAULTS", "HYPOTHESIS_", "KILLS", "REALNODE")
PROGRAMS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    *("etcd", "helm", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"),
    *("gcc", "git", "go", "kwok", "podman", "ssh"),
)


@dataclass(frozen=True)
class Tree:
    """The files below root that git has or would add."""

    root: Path
    names: tuple[str, ...]

    @classmethod
    def of(cls, root: Path) -> Tree:
        return cls(root, tuple(listed_files(root)))

    def select(self, patterns: Collection[str]) -> set[str]:
        """Return the files that a pattern means: `.` is all, `*.py` a kind of file, else a file or
        a folder.
        """
        return {name for name in self.names if any(_means(each, name) for each in patterns)}

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def modules(self) -> Mapping[str, list[str]]:
        """The Python files below tests by the name under which a neighbour imports them."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            path = PurePosixPath(name)
            if path.suffix == ".py" and path.parts[0] == "tests":
                for part in {path.stem, *path.parent.parts[1:]}:
                    found.setdefault(part, []).append(name)
        return found

    def imported(self, names: Iterable[str]) -> set[str]:
        """Return the Python files of the repository that these import, directly or not, and the
        conftest.py of their folders. Where a name fits several files, all of them are meant.
        """
        waiting = {name for name in names if name.endswith(".py")}
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            seen.add(name)
            near = {str(folder / "conftest.py") for folder in PurePosixPath(name).parents}
            if name not in self._importing:
                self._importing[name] = set(self._imports(name))
            waiting |= ((near & self.known) | self._importing[name]) - seen
        return seen

    @cached_property
    def _importing(self) -> dict[str, set[str]]:
        return {}

    def _imports(self, name: str) -> Iterator[str]:
        here = PurePosixPath(name)
        for module in _modules((self.root / name).read_text(encoding="utf-8")):
            if module.startswith(PACKAGE):
                yield from self._files(module.removeprefix(PACKAGE).split("."))
            elif module.startswith("."):
                level = len(module) - len(module.lstrip("."))
                folder = here.parents[level - 1].parts
                yield from self._files([*folder, *module.lstrip(".").split(".")])
            else:
                yield from self.modules.get(module.partition(".")[0], ())

    def _files(self, parts: Sequence[str]) -> Iterator[str]:
        """Return the module of this dotted name, or the one that the name is defined in, and the
        packages around it.
        """
        for length in range(1, len(parts) + 1):
            base = "/".join(parts[:length])
            yield from {f"{base}.py", f"{base}/__init__.py"} & self.known

    def digest(self, names: Iterable[str]) -> str:
        """Return the hash of the files' names and contents."""
        total = hashlib.sha256()
        for name in sorted(names):
            total.update(f"{name}\0{self._content(name)}\0".encode())
        return total.hexdigest()

    def _content(self, name: str) -> str:
        """Return the hash of a file, read again only when it has changed."""
        path = self.root / name
        try:
            stat = path.lstat()
        except OSError:
            return "gone"
        edition = (name, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if edition not in self._contents:
            link = path.is_symlink()
            content = str(path.readlink()).encode() if link else path.read_bytes()
            self._contents[edition] = hashlib.sha256(content).hexdigest()
        return self._contents[edition]

    @cached_property
    def _contents(self) -> dict[tuple[str, int, int, int], str]:
        return {}


def _means(pattern: str, name: str) -> bool:
    if "*" in pattern:
        return fnmatchcase(name, pattern)
    return pattern in (".", name) or name.startswith(f"{pattern}/")


def _modules(text: str) -> Iterator[str]:
    """Yield the dotted names that a source imports, in strings too, and more than once; relative
    ones begin with their dots.
    """
    yield from (PACKAGE + name.rstrip(".") for name in DOTTED.findall(text))
    for source, names, plain in IMPORT.findall(text):
        yield from WORD.findall(plain)
        if source:
            yield source
            dot = "" if source.endswith(".") else "."
            yield from (f"{source}{dot}{name}" for name in WORD.findall(names))


def machine(
    environ: Mapping[str, str], which: Callable[[str], str | None] = shutil.which
) -> tuple[str, ...]:
    """Return what else decides: Python, packages, kernel, user, programs, variables."""
    packages = sorted({f"{each.name}=={each.version}" for each in distributions()})
    variables = sorted(
        f"{name}={value}" for name, value in environ.items() if name.startswith(VARIABLES)
    )
    programs = [_identity(path) for name in PROGRAMS if (path := which(name))]
    return (sys.version, platform.platform(), str(os.getuid()), *packages, *programs, *variables)


def _identity(path: str) -> str:
    """Return the file that a program is, and which edition of it."""
    file = Path(path).resolve()
    stat = file.stat()
    return f"{file} {stat.st_size} {stat.st_mtime_ns}"
