# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: runs the probe of several targets at the same time.

Each target is a generator that yields wherever it waits. All of them continue when a pod changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from . import manifests
from .manifests import PodSettings
from .plan import ProbeResult, ProbeTarget
from .pods import (
    TRANSIENT,
    Failure,
    ProbePod,
    SlotCount,
    Stage,
    answer_of,
    events_text,
    failure_of_extra_pod,
    failure_of_seen_gpus,
    failure_of_two_slots,
    failure_to_run,
    insufficient,
)

AT_ONCE = 16  # targets
PODS_AT_ONCE = 500
TICK = 1.0  # seconds between checks of the clock
PATIENCE = 5.0  # seconds that the scheduler or the kubelet has to recover from a transient stage
REMOVAL = 60.0
QUOTA = "exceeded quota"
ON_NODE = (Stage.RUNNING, Stage.STARTING, Stage.STUCK)
OFF_NODE = (Stage.PENDING, Stage.UNSCHEDULABLE, Stage.GONE)
Step = Generator[None, None, None]


class PodApi(Protocol):
    """What ProbeNamespace offers for the pods of this run."""

    @property
    def run(self) -> str: ...
    def now(self) -> float: ...
    def create(self, pods: Sequence[Mapping[str, object]]) -> dict[str, str]: ...
    def pod(self, name: str) -> ProbePod: ...
    def delete(self, names: Sequence[str]) -> None: ...
    def vanished(self, names: Sequence[str]) -> bool: ...
    def wait(self, seconds: float) -> None: ...
    def events(self, pod: ProbePod) -> list[object]: ...


@dataclass(frozen=True)
class ProbeOptions:
    """How to probe targets. seconds is how long pods may take to run; recount counts the slots of a
    target again.
    """

    settings: PodSettings
    seconds: int
    recount: Callable[[ProbeTarget], SlotCount]
    require_uuids: bool = False


class Prober:
    """Probes one target and records what it observes."""

    def __init__(
        self, pods: PodApi, target: ProbeTarget, number: int, options: ProbeOptions
    ) -> None:
        """number distinguishes the pods of this target from those of others."""
        self.result = ProbeResult(target)
        self._pods, self._target, self._number, self._options = pods, target, number, options

    def steps(self) -> Step:
        """Try a pod of two slots alone; then the pods of one slot, and an extra pod beside them."""
        if self._target.can_try_two:
            yield from self._try_two()
        if self._proceeding:
            yield from self._try_all()

    @property
    def _proceeding(self) -> bool:
        """False once pods did not start or others interfered."""
        return not self.result.busy and (not self.result.failed or bool(self.result.two))

    def _try_two(self) -> Step:
        name = self._name("two")
        if self._create({name: 2}):
            yield from self._settle([name], lambda pod: answer_of(pod) is not None)
            pod = self._pods.pod(name)
            if answer := answer_of(pod):
                self.result.two = answer.value
                self._note(failure_of_two_slots(self._target, answer))
            else:
                self._note_failure([pod])
        yield from self._remove([name])

    def _try_all(self) -> Step:
        names = [self._name(f"slot{number}") for number in range(1, self._target.pods + 1)]
        more = self._name("more")
        self.result.ran = 0
        if self._create(dict.fromkeys(names, 1)):
            yield from self._settle(names, lambda pod: pod.stage is Stage.RUNNING)
            if self._all_run(names):
                self._record_gpus(names)
                yield from self._try_more(names, more)
        yield from self._remove([*names, more])

    def _try_more(self, names: Sequence[str], more: str) -> Step:
        if not self._create({more: self._target.rest}):
            return
        resource = self._target.resource
        yield from self._settle(
            [more], lambda pod: resource in insufficient(pod) or pod.stage in ON_NODE
        )
        pod = self._pods.pod(more)
        self.result.more = "waits" if pod.stage in OFF_NODE else "got a slot"
        if self._all_run(names):  # otherwise the extra pod may have the slot of one of them
            now = self._options.recount(self._target)
            self._note(failure_of_extra_pod(self._target, pod, now, self._options.seconds))

    def _all_run(self, names: Sequence[str]) -> bool:
        """Whether all pods run at this moment. If not, the failure is recorded."""
        pods = [self._pods.pod(name) for name in names]
        running = sum(pod.stage is Stage.RUNNING for pod in pods)
        self.result.ran = max(self.result.ran or 0, running)
        if running < len(pods):
            self._note_failure(pods)
        return running == len(pods)

    def _record_gpus(self, names: Sequence[str]) -> None:
        pods = [self._pods.pod(name) for name in names]
        self.result.seen = {pod.name: pod.gpus for pod in pods if pod.gpus}
        self._note(failure_of_seen_gpus(pods, required=self._options.require_uuids))

    def _settle(self, names: Sequence[str], good: Callable[[ProbePod], bool]) -> Step:
        """Wait until all pods are good, one cannot become good, or the time is over."""
        began = self._pods.now()
        since: dict[str, float] = {}
        while True:
            pods = [self._pods.pod(name) for name in names]
            now = self._pods.now()
            failing = {pod.name for pod in pods if not good(pod) and pod.stage in TRANSIENT}
            since = {name: since.get(name, now) for name in failing}
            final = any(pod.stage > max(TRANSIENT) and not good(pod) for pod in pods)
            lasting = any(now - at >= PATIENCE for at in since.values())
            if final or lasting or now - began >= self._options.seconds or all(map(good, pods)):
                return
            yield

    def _create(self, slots: Mapping[str, int]) -> bool:
        run, node, resource = self._pods.run, self._target.node, self._target.resource
        failures = self._pods.create(
            [
                manifests.pod(name, run, node, {resource: count}, self._options.settings)
                for name, count in slots.items()
            ]
        )
        if failures:
            reason = min(failures.values())
            text = f"the API server rejects the probe's pods: {reason}"
            self._note(Failure(text, busy=QUOTA in reason))
        return not failures

    def _remove(self, names: Sequence[str]) -> Step:
        """Delete the pods that were created, and wait until they are gone."""
        self._pods.delete(names)
        began = self._pods.now()
        while not self._pods.vanished(names) and self._pods.now() - began < REMOVAL:
            yield

    def _note_failure(self, pods: Sequence[ProbePod]) -> None:
        worst = max(pods, key=lambda pod: pod.stage)
        event = ""
        if worst.stage in (Stage.STARTING, Stage.STUCK):
            event = events_text(self._pods.events(worst))
        self._note(
            failure_to_run(
                self._target,
                pods,
                self._options.recount(self._target),
                event,
                self._options.seconds,
            )
        )

    def _note(self, found: Failure | None) -> None:
        if found is not None:
            texts = self.result.busy if found.busy else self.result.failed
            texts.append(found.text)

    def _name(self, what: str) -> str:
        return f"{self._pods.run}-{self._number}-{what}"


def at_once(most: int) -> int:
    """How many targets to probe at the same time, with so many pods and an extra pod for each."""
    return max(1, min(AT_ONCE, PODS_AT_ONCE // (most + 1)))


def run_all(pods: PodApi, probers: Sequence[Prober], most: int) -> None:
    """Run all probers, at most so many at the same time."""
    waiting = deque(probers)
    active: list[Iterator[None]] = []
    while waiting or active:
        while waiting and len(active) < most:
            active.append(waiting.popleft().steps())
        active = [steps for steps in active if _continues(steps)]
        if active:
            pods.wait(TICK)


def _continues(steps: Iterator[None]) -> bool:
    try:
        next(steps)
    except StopIteration:
        return False
    return True
