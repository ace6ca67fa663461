# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command behind cost.py."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.gpufleet.sharing.tests.realnode.cost import (
    cases,
    figures,
    python_image,
    schedule,
)
from ansible_collections.gpufleet.sharing.tests.realnode.cost.cluster import Cluster
from ansible_collections.gpufleet.sharing.tests.realnode.cost.conditions import conditions, effort
from ansible_collections.gpufleet.sharing.tests.realnode.cost.measure import (
    INSIDE,
    LOAD,
    OUT_OF_MEMORY,
    Session,
    measure_loads,
    measure_out_of_memory,
    run_together,
)
from ansible_collections.gpufleet.sharing.tests.realnode.cost.pods import Mount, Place
from ansible_collections.gpufleet.sharing.tests.realnode.cost.results import Failed, Results
from ansible_collections.gpufleet.sharing.tests.realnode.cost.sharing import Names, Profiles

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[2] / ".build" / "realnode"
IMAGE = "localhost/gpufleet-sharing-cost:1"
FRAMEWORKS_PYTHON = "/opt/torch/.venv/bin/python3"
CUDA = Path("/usr/local/cuda")
LOADS, MEMORY, FRAMEWORKS = "loads", "memory", "frameworks"
# Seconds that parts are reckoned with, when it is asked whether there is time for them
SESSION, MEMORY_TAKES, FRAMEWORKS_TAKE, END = 20.0, 35.0, 110.0, 25.0
FRAMEWORK_PATIENCE = 100.0  # for one group of pods


@dataclass(frozen=True)
class Options:
    """The command line."""

    place: Place
    names: Names
    out: Path
    counts: tuple[int, ...]
    seconds: float
    repetitions: int
    budget: float
    parts: tuple[str, ...]
    stand_in: bool
    python: str
    ctr: str
    ansible: str
    plugin: str


def parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="cost.py", description=__doc__)
    add = parser.add_argument
    node = os.environ.get("REALNODE_NODE")
    add("--node", default=node, required=not node, help="its name; KUBECONFIG says which cluster")
    add("--out", type=Path, default=BUILD / "cost.json")
    add("--replicas", default="1,2,4,8", help="numbers of replicas, in the order of measuring")
    add("--seconds", type=float, default=2.0, help="of each measurement")
    add("--repetitions", type=int, default=3)
    add("--budget", type=float, default=500, help="seconds; what no longer fits is left out")
    add("--only", default=f"{LOADS},{MEMORY},{FRAMEWORKS}", help="parts")
    add("--image", default=IMAGE, help="the name that the image gets")
    add("--resource", default="nvidia.com/gpu")
    add("--namespace", default=Names.namespace, help="of the operator and the ConfigMap")
    add("--config-map", default=Names.config_map)
    add("--default-profile", default=Names.default)
    add("--frameworks", default=FRAMEWORKS_PYTHON, help="Python with PyTorch and JAX")
    add("--ctr", default=default_ctr(), help="with options, such as 'ctr -a /run/x.sock'")
    add("--ansible", default="", help="ansible-playbook with options; by default that of the PATH")
    add("--plugin-version", default="", help="where its image does not tell")
    add("--stand-in", action="store_true", help="no GPU: to debug; no figure means anything")
    given = parser.parse_args(arguments)
    return Options(
        Place(given.node, given.image, given.resource),
        Names(given.namespace, given.config_map, given.default_profile),
        given.out,
        tuple(int(count) for count in given.replicas.split(",")),
        given.seconds,
        given.repetitions,
        given.budget,
        tuple(given.only.split(",")),
        given.stand_in,
        given.frameworks,
        given.ctr,
        given.ansible,
        given.plugin_version,
    )


def default_ctr() -> str:
    """ctr as the node of `realnode env` needs it, whose socket is in a mount namespace."""
    process = os.environ.get("REALNODE_PID")
    socket = "/run/realnode/containerd.sock"
    return f"nsenter --target {process} --mount ctr --address {socket}" if process else "ctr"


class Course:
    """One run: what it is asked for, what it has found, and how much time is left."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.results = Results()
        self.began = time.monotonic()
        self.failed = False

    @property
    def left(self) -> float:
        return self.options.budget - (time.monotonic() - self.began)

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def note(self, text: str) -> None:
        self.results.notes.append(text)
        self.say(text)

    def keep(self) -> Results:
        """The results, which are about to get more; written now."""
        self.results.save(self.options.out)
        return self.results

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """One part: where it fails this is noted, and the next one begins."""
        self.say(name)
        try:
            yield
        except (Failed, OSError, subprocess.SubprocessError) as error:
            self.failed = True
            first, *more = str(error).splitlines() or [""]
            self.note(f"{name}: failed: {first}")
            print("\n".join(more), flush=True)
        finally:
            self.results.save(self.options.out)


def compile_load(options: Options) -> Path:
    """Build load.cu. Raises Failed where the compiler does not like it."""
    target = BUILD / ("load-without-gpu" if options.stand_in else "load")
    target.parent.mkdir(parents=True, exist_ok=True)
    if options.stand_in:
        command = ["g++", "-std=c++17", "-O2", "-DNO_GPU", "-x", "c++", "-static", "-pthread"]
    else:
        compiler = shutil.which("nvcc") or str(CUDA / "bin" / "nvcc")
        command = [compiler, "-std=c++17", "-O3", "-arch=sm_90", "-cudart", "static"]
    command += ["-o", str(target), str(HERE / "load.cu")]
    done = subprocess.run(command, check=False, text=True, capture_output=True, timeout=240)
    if done.returncode:
        raise Failed(f"{shlex.join(command)}:\n{done.stderr[-3000:]}")
    return target


def make_image(options: Options, load: Path) -> str:
    """Build the image of all pods, and give it to containerd. Returns its size in words."""
    python = options.python if Path(options.python).exists() else sys.executable
    archive = BUILD / "cost-image.tar"
    files = {LOAD: load, cases.PROGRAM: HERE / "frameworks.py"}
    home = home_of(options.python)
    size = python_image.build(archive, options.place.image, python, home, files)
    command = [*shlex.split(options.ctr), "-n", "k8s.io", "images", "import", str(archive)]
    done = subprocess.run(command, check=False, text=True, capture_output=True, timeout=240)
    if done.returncode:
        raise Failed(f"{shlex.join(command)}: {done.stderr.strip()[-600:]}")
    archive.unlink()
    return f"{size >> 20} MiB"


def affordable(left: float, sessions: int, seconds: float, most: int, others: float) -> int:
    """How many repetitions so many sessions can have; 0 where there is not even time for one.

    others is what comes behind them. Where all together do not fit, one repetition is still tried.
    """
    for repetitions in range(most, 0, -1):
        one = schedule.turns(seconds, repetitions)[-1].end + SESSION
        if sessions * one + others <= left:
            return repetitions
    return int(schedule.turns(seconds, 1)[-1].end + SESSION <= left)


def others_take(options: Options) -> float:
    """Seconds of the parts that come behind the loads."""
    taken = {MEMORY: MEMORY_TAKES, FRAMEWORKS: FRAMEWORKS_TAKE}
    return END + sum(taken.get(part, 0) for part in options.parts)


def run_loads(
    course: Course, cluster: Cluster, folder: Path, set_to: Callable[[int], None]
) -> None:
    options = course.options
    for number, count in enumerate(options.counts):
        sessions = len(options.counts) - number
        most = options.repetitions
        repetitions = affordable(course.left, sessions, options.seconds, most, others_take(options))
        if not repetitions:
            course.note(f"{count} replicas: left out, no time")
            continue
        if repetitions < most:
            course.note(f"{count} replicas: {repetitions} repetitions of {most}, for want of time")
        with course.part(f"{count} replicas"):
            set_to(count)
            planned = schedule.turns(options.seconds, repetitions)
            measure_loads(Session(cluster, folder, f"r{count}"), count, planned, course.keep)
            for line in figures.summary(course.results, count):
                course.say(f"  {line}")


def run_memory(course: Course, cluster: Cluster, folder: Path) -> None:
    if course.left < MEMORY_TAKES + END:
        course.note("memory that runs out: left out, no time")
        return
    with course.part("memory that runs out"):
        found = measure_out_of_memory(Session(cluster, folder, "full"))
        course.results.memory = found
        for each in found:
            errors = [one["error"] for one in each["said"] if one["error"]]
            course.say(f"  {each['pod']}: {each['phase']} {each.get('container')} {errors}")


def run_frameworks(course: Course, cluster: Cluster) -> None:
    """Each group in turn, while there is time."""
    options = course.options
    if not Path(options.python).exists():
        course.note(f"frameworks: left out, no {options.python}")
        return
    place = replace(cluster.place, mounts=framework_mounts(options.python))
    folders = [str(Path(options.python).parent), str(CUDA / "bin"), "/usr/bin"]
    env = {"PATH": ":".join(folders), "LD_LIBRARY_PATH": "/usr/lib/x86_64-linux-gnu"}
    for number, group in enumerate(cases.GROUPS, 1):
        if course.left < FRAMEWORKS_TAKE / len(cases.GROUPS) + END:
            course.note(f"frameworks, {', '.join(case.name for case in group)}: left out, no time")
            continue
        with course.part(f"frameworks, group {number} of {len(cases.GROUPS)}"):
            works = cases.works(group, options.python, env)
            patience = min(FRAMEWORK_PATIENCE, course.left - END)
            told = run_together(Cluster(place), f"f{number}", works, patience)
            for name, text in told.items():
                found = cases.read(name, text)
                course.results.frameworks.append(found)
                course.say(f"  {name}: limits {cases.limits(found)} {found.get('error', '')}")


def home_of(python: str) -> Path:
    """The folder around a virtual environment, which pods mount: /opt/torch of its default."""
    return Path(python).parents[2]


def framework_mounts(python: str) -> tuple[Mount, ...]:
    """Folders of the node in which the frameworks are, as far as they are there."""
    home = home_of(python)
    found = ((home, home), (CUDA.resolve(), CUDA))
    return tuple(Mount(str(here), str(there)) for here, there in found if here.is_dir())


def physical(cluster: Cluster) -> int:
    """GPUs of the node, as GPU feature discovery has counted them."""
    labels = cluster.node()["metadata"].get("labels") or {}
    return int(labels.get("nvidia.com/gpu.count", 0))


def measure(course: Course) -> None:
    options = course.options
    folder = BUILD / "cost-shared"
    for each in (folder, options.out.parent):
        each.mkdir(parents=True, exist_ok=True)
    place = replace(options.place, mounts=(Mount(str(folder), INSIDE, read_only=False),))
    cluster = Cluster(place)
    profiles = Profiles(cluster, options.names, options.ansible, options.out.parent)
    course.say("program and image")
    course.say(f"  {make_image(options, compile_load(options))}")
    course.results.conditions = conditions(cluster, options.plugin, stand_in=options.stand_in)
    course.results.conditions |= effort(options.seconds, options.repetitions)
    course.say(f"  {course.results.conditions}")

    def set_to(count: int) -> None:
        took = profiles.set_to(count, options.counts)
        course.results.flips.append(took)
        course.say(f"  {took}")

    if (gpus := physical(cluster)) != 1:
        raise Failed(f"{options.place.node} has {gpus} GPUs by its label; one is what is measured")
    try:
        cluster.enter()
        if LOADS in options.parts:
            run_loads(course, cluster, folder, set_to)
        most = max(options.counts)
        enough = max(len(OUT_OF_MEMORY) + 1, *(len(group) for group in cases.GROUPS))
        if most < enough:
            course.note(f"memory and frameworks: left out, they need {enough} replicas")
            return
        if {MEMORY, FRAMEWORKS} & set(options.parts) and cluster.allocatable() != most:
            set_to(most)
        if MEMORY in options.parts:
            run_memory(course, cluster, folder)
        if FRAMEWORKS in options.parts:
            run_frameworks(course, cluster)
    finally:
        with course.part("clean up"):
            cluster.leave()
            shutil.rmtree(folder, ignore_errors=True)
            if left := profiles.restore():
                course.note(left)


def stop(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def main(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, stop)
    course = Course(parse(arguments))
    with course.part("cost of sharing"):
        measure(course)
    course.say(f"{'FAILED' if course.failed else 'done'}: {course.options.out}")
    return int(course.failed)
