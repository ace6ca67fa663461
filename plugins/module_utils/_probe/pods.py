# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what a pod of the probe is doing, and what that tells of the node.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import (
    dig,
    list_at,
    name_of,
    text_at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.plan import (
    ProbeTarget,
    TwoSlots,
)

ADMISSION_ERROR = "UnexpectedAdmissionError"
_HARMLESS = ("", "ContainerCreating", "PodInitializing")
_IMAGE = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)
_INSUFFICIENT = re.compile(r"Insufficient ([a-z0-9./-]*[a-z0-9])")
_HEX = "[0-9a-f]"
_UUID = rf"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}"
_GPU = re.compile(rf"\b(?:GPU|MIG(?:-GPU)?)-{_UUID}(?:/[0-9]+/[0-9]+)?")
_LONGEST = 400


class Stage(IntEnum):
    """How far a pod has come; the greater, the more it tells when something is wrong."""

    RUNNING = 0
    PENDING = 1  # the scheduler has not looked at it
    STARTING = 2  # on the node, containers not started yet
    UNSCHEDULABLE = 3
    STUCK = 4  # the kubelet cannot start a container, and says why
    GONE = 5  # somebody else removed it
    ENDED = 6
    REFUSED = 7  # turned down by the node's device plugin


PASSING = (Stage.UNSCHEDULABLE, Stage.STUCK)  # these may pass by themselves, the later ones not


@dataclass(frozen=True)
class ProbePod:
    """A pod of the probe. said is what the container that looks at the GPUs has written."""

    name: str
    uid: str
    stage: Stage
    why: str = ""  # the scheduler's or kubelet's words
    cause: str = ""  # Kubernetes' reason, such as CreateContainerError
    said: str = ""

    @property
    def gpus(self) -> tuple[str, ...]:
        """UUIDs of the GPUs that it sees; of MIG devices, where there are some."""
        found = sorted(set(_GPU.findall(self.said)))
        return tuple([uuid for uuid in found if uuid.startswith("MIG")] or found)


@dataclass(frozen=True)
class SlotCount:
    """A resource of a node, counted anew: slots, and those that pods of others request."""

    allocatable: int
    used: int


@dataclass(frozen=True)
class Failure:
    """What is to be said of a pod that did not do as expected. busy: it is nobody's fault."""

    text: str
    busy: bool = False


def read_pod(document: object) -> ProbePod:
    stage, cause, why = _stage(document)
    looks = list_at(document, "status", "initContainerStatuses")
    said = " ".join(text_at(look, "state", "terminated", "message") for look in looks)
    return ProbePod(
        name_of(document), text_at(document, "metadata", "uid"), stage, _line(why), cause, said
    )


def gone(pod: ProbePod) -> ProbePod:
    """A pod that has been deleted; what it ended with before is kept."""
    if pod.stage > Stage.GONE:
        return pod
    return ProbePod(pod.name, pod.uid, Stage.GONE, pod.why, pod.cause, pod.said)


def _stage(document: object) -> tuple[Stage, str, str]:
    """Stage, Kubernetes' reason and its words."""
    return _over(document) or _on_node(document) or _off_node(document)


def _over(document: object) -> tuple[Stage, str, str] | None:
    """Of a pod that has ended, or is being removed."""
    told = text_at(document, "status", "reason"), text_at(document, "status", "message")
    if text_at(document, "status", "phase") not in ("Failed", "Succeeded"):
        leaving = text_at(document, "metadata", "deletionTimestamp")
        return (Stage.GONE, *told) if leaving else None
    if told[0] == ADMISSION_ERROR:
        return Stage.REFUSED, *told
    if _condition(document, "DisruptionTarget"):
        return Stage.GONE, *told
    return Stage.ENDED, *_end(document, *told)


def _on_node(document: object) -> tuple[Stage, str, str] | None:
    if not text_at(document, "spec", "nodeName"):
        return None
    statuses = list_at(document, "status", "containerStatuses")
    running = statuses and all(dig(s, "state", "running") is not None for s in statuses)
    if running and text_at(document, "status", "phase") == "Running":
        return Stage.RUNNING, "", ""
    for status in [*list_at(document, "status", "initContainerStatuses"), *statuses]:
        cause = text_at(status, "state", "waiting", "reason")
        if cause not in _HARMLESS:
            return Stage.STUCK, cause, text_at(status, "state", "waiting", "message")
    return Stage.STARTING, "", ""


def _off_node(document: object) -> tuple[Stage, str, str]:
    scheduled = _condition(document, "PodScheduled", "False")
    if text_at(scheduled, "reason") == "Unschedulable":
        return Stage.UNSCHEDULABLE, "Unschedulable", text_at(scheduled, "message")
    return Stage.PENDING, "", ""


def _condition(document: object, kind: str, status: str = "True") -> object:
    found = list_at(document, "status", "conditions")
    return next((c for c in found if (dig(c, "type"), dig(c, "status")) == (kind, status)), None)


def _end(document: object, reason: str, message: str) -> tuple[str, str]:
    """Reason and words of the container that ended first and badly, else of the pod."""
    for kind in ("initContainerStatuses", "containerStatuses"):
        for status in list_at(document, "status", kind):
            end = dig(status, "state", "terminated")
            if end and (dig(end, "exitCode") or kind == "containerStatuses"):
                words = f"container {text_at(status, 'name')}, exit code {text_at(end, 'exitCode')}"
                said = text_at(end, "message")
                return text_at(end, "reason") or reason, f"{words}: {said}" if said else words
    return reason, message


def _line(text: str) -> str:
    """In one line of bearable length."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else flat[:_LONGEST] + " ..."


def insufficient(pod: ProbePod) -> list[str]:
    """The resources that the scheduler says are short."""
    return _INSUFFICIENT.findall(pod.why) if pod.stage is Stage.UNSCHEDULABLE else []


def meanwhile(target: ProbeTarget, now: SlotCount, *, fewer: bool) -> str:
    """What others have changed since the slots were counted, in words; fewer: slots than then."""
    if now.allocatable != target.allocatable:
        return (
            f"allocatable of {target.resource} went from {target.allocatable} to {now.allocatable}"
            " meanwhile"
        )
    if fewer and now.used > target.used:
        return f"others took {now.used - target.used} slots meanwhile"
    if not fewer and now.used < target.used:
        return f"others gave {target.used - now.used} slots back meanwhile"
    return ""


def failure_to_run(
    target: ProbeTarget, pods: Sequence[ProbePod], now: SlotCount, told: str, seconds: int
) -> Failure:
    """Why pods that were to run do not, by the one of them that tells most.

    told is what events say of it; seconds is how long has been waited.
    """
    pod = max(pods, key=lambda pod: pod.stage)
    if pod.stage is Stage.GONE:
        return _removed(pod)
    if pod.stage is Stage.UNSCHEDULABLE:
        return _unschedulable(target, pods, pod, now)
    texts = {
        Stage.REFUSED: f"the node turned a pod down: {pod.cause}: {pod.why}",
        Stage.ENDED: _joined(f"a container ended ({pod.cause or 'no reason given'})", pod.why),
        Stage.STUCK: _stuck(pod, told),
        Stage.STARTING: f"containers were not started within {seconds} s"
        f" ({told or 'no event says why'}). Where an image is being pulled, have it on the node"
        " beforehand, or give more time",
    }
    unseen = f"no scheduler has looked at a pod for {seconds} s: is kube-scheduler running?"
    return Failure(texts.get(pod.stage, unseen))


def _removed(pod: ProbePod) -> Failure:
    return Failure(_joined("a pod of the probe was removed by somebody else", pod.why), busy=True)


def _unschedulable(
    target: ProbeTarget, pods: Sequence[ProbePod], pod: ProbePod, now: SlotCount
) -> Failure:
    if target.resource not in insufficient(pod):
        return Failure(f"no room for the probe's pods: {pod.why}", busy=True)
    if changed := meanwhile(target, now, fewer=True):
        return Failure(changed, busy=True)
    if now.allocatable >= target.expected:  # the scheduler tries anew some seconds later
        return Failure(
            f"others held slots of {target.resource} meanwhile, and have given them back", busy=True
        )
    running = sum(each.stage is Stage.RUNNING for each in pods)
    return Failure(
        f"only {running} of {len(pods)} pods ran, though {target.free} slots should be free:"
        f" {target.resource} is {now.allocatable}, expected {target.expected}"
    )


def _stuck(pod: ProbePod, told: str) -> str:
    said = _joined(pod.cause, pod.why or told)
    if pod.cause in _IMAGE:
        return f"the image cannot be pulled: {said}. Name one that the node can pull"
    return (
        f"slots are given, but no container starts: {said}. Look at the driver, the NVIDIA"
        " container toolkit and CDI on the node"
    )


def failure_of_extra_pod(
    target: ProbeTarget, pod: ProbePod, now: SlotCount, seconds: int
) -> Failure | None:
    """Why one pod more, which must wait, does not; None where it waits for the right reason."""
    if pod.stage is Stage.UNSCHEDULABLE:
        if target.resource in insufficient(pod):
            return None
        return Failure(f"one pod more waits, but for another reason: {pod.why}", busy=True)
    if pod.stage is Stage.PENDING:
        return Failure(f"no scheduler has looked at one pod more for {seconds} s")
    if pod.stage is Stage.GONE:
        return _removed(pod)
    if changed := meanwhile(target, now, fewer=False):
        return Failure(changed, busy=True)
    return Failure(
        f"one pod more got a slot, though none should be left: {target.resource} is"
        f" {now.allocatable}, expected {target.expected}"
    )


def answer_of(pod: ProbePod) -> TwoSlots | None:
    """What became of a pod that asks for two slots; None where that is not to be told."""
    return {Stage.RUNNING: TwoSlots.ADMITTED, Stage.REFUSED: TwoSlots.REFUSED}.get(pod.stage)


def failure_of_two_slots(target: ProbeTarget, answer: TwoSlots) -> Failure | None:
    """What is wrong with the answer to a request of two slots; None where it is as it should be."""
    if target.two in (answer, TwoSlots.EITHER):
        return None
    return Failure(
        f"a request of two slots was {answer.value}, and profile {target.profile} has it"
        f" {target.two.value} (failRequestsGreaterThanOne): has the plugin loaded this profile?"
    )


def failure_of_seen_gpus(pods: Iterable[ProbePod], *, required: bool) -> Failure | None:
    """What is wrong with the GPUs that pods of one slot see; None where nothing is."""
    pods = list(pods)
    blind = [pod.name for pod in pods if not pod.gpus]
    if required and blind:
        return Failure(
            f"{len(blind)} of {len(pods)} pods did not tell a GPU. Use an image with nvidia-smi, or"
            " ask for no UUIDs"
        )
    most = max((len(pod.gpus) for pod in pods), default=0)
    if most > 1:
        return Failure(
            f"a pod that asked for one slot sees {most} GPUs: containers on this node are not kept"
            " to the devices that the plugin gives them"
        )
    return None


def events_text(documents: Iterable[object]) -> str:
    """What the events of a pod say: the last warning, else that its image is being pulled."""
    ordered = sorted(documents, key=_moment)
    warnings = [event for event in ordered if dig(event, "type") == "Warning"]
    reasons = [text_at(event, "reason") for event in ordered]
    if warnings:
        last = warnings[-1]
        return _line(_joined(text_at(last, "reason"), text_at(last, "message")))
    if "Pulling" in reasons and "Pulled" not in reasons:
        message = text_at(ordered[reasons.index("Pulling")], "message")
        return _line(f"an image is still being pulled: {message}")
    return ""


def _moment(event: object) -> str:
    times = (text_at(event, key) for key in ("lastTimestamp", "eventTime", "firstTimestamp"))
    return next((time for time in times if time), "")


def _joined(what: str, words: str) -> str:
    return f"{what}: {words}" if words else what
