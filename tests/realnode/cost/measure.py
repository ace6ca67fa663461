# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that begin together, and what came of them."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.gpufleet.sharing.tests.realnode.cost import schedule
from ansible_collections.gpufleet.sharing.tests.realnode.cost.cluster import Cluster, wait_until
from ansible_collections.gpufleet.sharing.tests.realnode.cost.pods import Work, ended, state
from ansible_collections.gpufleet.sharing.tests.realnode.cost.results import (
    Context,
    Failed,
    Results,
    Sample,
    read_samples,
)

INSIDE = "/cost"  # where pods find the folder that they share
LOAD = "/usr/bin/load"
READY = 60  # seconds until all pods have opened the GPU
SOON = 1.0  # from the word to the beginning
LOOK = 8.0  # seconds between looks at the logs
# When memory runs out: what each pod does, after the common start
OUT_OF_MEMORY = {
    "holder": ("take:4@0+0.5", "verify@1.5+18"),
    "hog": ("fill@3+10",),
    "late": ("take:4@6+0.5",),
    "after": ("take:4@18+0.5",),
}
NEWCOMER = ("newcomer", 4.5, ("take:1@9+0.5",))  # made so many seconds after the start


@dataclass
class Session:
    """Pods that run together. folder is theirs on the node."""

    cluster: Cluster
    folder: Path
    name: str

    def works(self, phases: dict[str, Sequence[str]]) -> list[Work]:
        return [
            Work(f"{self.name}-{pod}", (LOAD, f"{self.name}-{pod}", INSIDE, *words))
            for pod, words in phases.items()
        ]

    def open(self, works: Sequence[Work]) -> None:
        """Make the pods, and wait until all of them run and have opened the GPU."""
        for left in self.folder.iterdir():
            left.unlink()
        self.cluster.create(self.name, works)
        self.cluster.wait_running(self.name, len(works), READY)

        def ready() -> bool:
            waiting = [work for work in works if not (self.folder / f"ready-{work.name}").exists()]
            if waiting and any(map(ended, self.cluster.pods(self.name))):
                raise Failed(f"pods ended before the start: {self.said([waiting[0].name])}")
            return not waiting

        wait_until("all pods have opened the GPU", READY, ready)

    def start(self) -> float:
        """Say when to begin. Returns that time."""
        when = time.time() + SOON
        beside = self.folder / "start.new"
        beside.write_text(f"{when:.3f}\n", encoding="utf-8")
        beside.rename(self.folder / "start")
        return when

    def samples(self, pods: Sequence[str]) -> dict[str, list[Sample]]:
        return {pod: read_samples(self.cluster.log(pod)) for pod in pods}

    def said(self, pods: Sequence[str]) -> str:
        return "; ".join(f"{pod}: {self.cluster.log(pod).strip()[-300:]}" for pod in pods)


def measure_loads(
    session: Session, replicas: int, planned: Sequence[schedule.Turn], keep: Callable[[], Results]
) -> None:
    """All loads with so many pods. What is there is put into the results every few seconds."""
    names = [f"p{place}" for place in range(replicas)]
    works = session.works(
        {name: schedule.phases(planned, place) for place, name in enumerate(names)}
    )
    pods = [work.name for work in works]
    try:
        session.open(works)
        of_processes = process_memory()
        began = session.start()

        def look() -> None:
            told = session.samples(pods)
            found = list(schedule.rounds(planned, replicas, told))
            results = keep()
            schedule.same_gpu([*results.rounds, *found])
            results.put_rounds(replicas, [each for each in found if not schedule.complaint(each)])
            complaints = filter(None, map(schedule.complaint, found))
            results.notes += [each for each in complaints if each not in results.notes]

        last = began + planned[-1].end
        while time.time() < last:
            time.sleep(min(LOOK, max(0.1, last - time.time())))
            look()
        session.cluster.wait_ended(session.name, 30)
        look()
        first = [samples[0] for samples in session.samples(pods).values() if samples]
        used = max(sample.total_mib - sample.free_mib for sample in first)
        context = Context(replicas, used, schedule.BUFFERS_MIB, of_processes)
        keep().contexts.append(context)
    finally:
        session.cluster.delete(session.name)


def measure_out_of_memory(session: Session) -> list[dict[str, Any]]:
    """A neighbour takes all memory. Returns what each pod said, how it is, and its events."""
    works = session.works(dict(OUT_OF_MEMORY))
    name, after, phases = NEWCOMER
    later = session.works({name: phases})
    pods = [work.name for work in (*works, *later)]
    try:
        session.open(works)
        when = session.start()
        time.sleep(max(0.0, when + after - time.time()))
        session.cluster.create(session.name, later)
        session.cluster.wait_ended(session.name, 60)
        found = []
        for pod in session.cluster.pods(session.name):
            this = pod["metadata"]["name"]
            said = [vars(sample) for sample in read_samples(session.cluster.log(this))]
            events = session.cluster.events([this])
            found.append({**state(pod), "said": said, "events": events})
        return sorted(found, key=lambda each: pods.index(each["pod"]))
    finally:
        session.cluster.delete(session.name)


def run_together(
    cluster: Cluster, session: str, works: Sequence[Work], seconds: float
) -> dict[str, str]:
    """Run pods to their end. Returns what each printed."""
    try:
        cluster.create(session, works)
        cluster.wait_ended(session, seconds)
        return {work.name: cluster.log(work.name) for work in works}
    finally:
        cluster.delete(session)


def process_memory() -> tuple[float, ...]:
    """MiB of GPU memory of each process, as nvidia-smi tells; nothing where it does not."""
    told = ask_driver("--query-compute-apps=used_memory")
    return tuple(float(each) for each in told.split() if re.fullmatch(r"[0-9.]+", each))


def ask_driver(*words: str) -> str:
    """What nvidia-smi says, as values without heads and units; empty where there is none."""
    command = ["nvidia-smi", *words, "--format=csv,noheader,nounits"]
    done = run_tool(command, f"/usr/local/nvidia/bin:{os.environ.get('PATH', '')}")
    return done.stdout.strip() if done and done.returncode == 0 else ""


def run_tool(command: list[str], path: str) -> subprocess.CompletedProcess[str] | None:
    """Run a program of the machine, looked for in the folders of a path. None: there is none, or it
    does not end.
    """
    try:
        return subprocess.run(
            command,
            check=False,
            text=True,
            capture_output=True,
            timeout=20,
            env={**os.environ, "PATH": path},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
