# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the state of the probe's pods, and what it shows about the node. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from .._common.documents import dig, list_at, name_of, text_at
from .plan import ProbeTarget, TwoSlots

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
    """The progress of a pod. Of several pods, the one with the highest stage explains a failure
    best.
    """

    RUNNING = 0
    PENDING = 1  # not handled by the scheduler yet
    STARTING = 2  # on the node, containers not started yet
    UNSCHEDULABLE = 3
    STUCK = 4  # the kubelet cannot start a container, and reports why
    GONE = 5  # somebody else removed it
    ENDED = 6
    REFUSED = 7  # rejected by the node's device plugin


TRANSIENT = (Stage.UNSCHEDULABLE, Stage.STUCK)  # can resolve by themselves; later stages cannot


@dataclass(frozen=True)
class ProbePod:
    """A pod of the probe. gpu_list is the output of the container that lists the GPUs."""

    name: str
    uid: str
    stage: Stage
    why: str = ""  # the message of the scheduler or kubelet
    cause: str = ""  # Kubernetes' reason, such as CreateContainerError
    gpu_list: str = ""

    @property
    def gpus(self) -> tuple[str, ...]:
        """UUIDs of the GPUs that it sees; of MIG devices, if there are any."""
        found = sorted(set(_GPU.findall(self.gpu_list)))
        return tuple([uuid for uuid in found if uuid.startswith("MIG")] or found)


@dataclass(frozen=True)
class SlotCount:
    """A new count of a resource of a node: its slots, and those that other pods request."""

    allocatable: int
    used: int


@dataclass(frozen=True)
class Failure:
    """Why a pod did not behave as expected. busy: others interfered, so nothing is wrong."""

    text: str
    busy: bool = False


def read_pod(document: object) -> ProbePod:
    stage, cause, why = _stage(document)
    statuses = list_at(document, "status", "initContainerStatuses")
    gpu_list = " ".join(text_at(s, "state", "terminated", "message") for s in statuses)
    return ProbePod(
        name_of(document), text_at(document, "metadata", "uid"), stage, _line(why), cause, gpu_list
    )


def gone(pod: ProbePod) -> ProbePod:
    """The pod after its deletion. A pod that had ended before keeps its stage."""
    if pod.stage > Stage.GONE:
        return pod
    return replace(pod, stage=Stage.GONE)


def _stage(document: object) -> tuple[Stage, str, str]:
    """The stage, and Kubernetes' reason and message."""
    return _over(document) or _on_node(document) or _off_node(document)


def _over(document: object) -> tuple[Stage, str, str] | None:
    """The stage of a pod that has ended or is being deleted."""
    reason, message = (text_at(document, "status", key) for key in ("reason", "message"))
    if text_at(document, "status", "phase") not in ("Failed", "Succeeded"):
        leaving = text_at(document, "metadata", "deletionTimestamp")
        return (Stage.GONE, reason, message) if leaving else None
    if reason == ADMISSION_ERROR:
        return Stage.REFUSED, reason, message
    if _condition(document, "DisruptionTarget"):
        return Stage.GONE, reason, message
    return Stage.ENDED, *_end(document, reason, message)


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
    """Reason and message of the first container that failed, else of the pod."""
    for kind in ("initContainerStatuses", "containerStatuses"):
        for status in list_at(document, "status", kind):
            end = dig(status, "state", "terminated")
            if end and (dig(end, "exitCode") or kind == "containerStatuses"):
                what = f"container {text_at(status, 'name')}, exit code {text_at(end, 'exitCode')}"
                return text_at(end, "reason") or reason, _joined(what, text_at(end, "message"))
    return reason, message


def _line(text: str) -> str:
    """The text in one line of limited length."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else flat[:_LONGEST] + " ..."


def insufficient(pod: ProbePod) -> list[str]:
    """The resources that the scheduler reports as insufficient."""
    return _INSUFFICIENT.findall(pod.why) if pod.stage is Stage.UNSCHEDULABLE else []


def meanwhile(target: ProbeTarget, now: SlotCount, *, fewer: bool) -> str:
    """What changed since the slots were counted, if it explains fewer, or else more, free slots."""
    if now.allocatable != target.allocatable:
        return (
            f"allocatable of {target.resource} went from {target.allocatable} to {now.allocatable}"
            " meanwhile"
        )
    if fewer and now.used > target.used:
        return f"others took {now.used - target.used} slots meanwhile"
    if not fewer and now.used < target.used:
        return f"others released {target.used - now.used} slots meanwhile"
    return ""


def failure_to_run(
    target: ProbeTarget, pods: Sequence[ProbePod], now: SlotCount, event: str, seconds: int
) -> Failure:
    """Why pods do not run, from the one with the highest stage.

    event is the text of its events; seconds is how long the probe has waited.
    """
    pod = max(pods, key=lambda pod: pod.stage)
    if pod.stage is Stage.GONE:
        return _removed(pod)
    if pod.stage is Stage.UNSCHEDULABLE:
        return _unschedulable(target, pods, pod, now)
    texts = {
        Stage.REFUSED: f"the node rejected a pod: {pod.cause}: {pod.why}",
        Stage.ENDED: _joined(f"a container ended ({pod.cause or 'no reason given'})", pod.why),
        Stage.STUCK: _stuck(pod, event),
        Stage.STARTING: f"containers did not start within {seconds} s"
        f" ({event or 'no event gives a reason'}). If an image is being pulled, load it on the node"
        " in advance, or increase the timeout",
    }
    unseen = f"no scheduler handled a pod within {seconds} s. Check that kube-scheduler runs"
    return Failure(texts.get(pod.stage, unseen))


def _removed(pod: ProbePod) -> Failure:
    return Failure(_joined("a pod of the probe was deleted by somebody else", pod.why), busy=True)


def _unschedulable(
    target: ProbeTarget, pods: Sequence[ProbePod], pod: ProbePod, now: SlotCount
) -> Failure:
    if target.resource not in insufficient(pod):
        return Failure(f"no room for the probe's pods: {pod.why}", busy=True)
    if changed := meanwhile(target, now, fewer=True):
        return Failure(changed, busy=True)
    if now.allocatable >= target.expected:  # the scheduler retries some seconds later
        return Failure(
            f"others held slots of {target.resource} meanwhile, and have released them", busy=True
        )
    running = sum(each.stage is Stage.RUNNING for each in pods)
    return Failure(
        f"only {running} of {len(pods)} pods ran, although {target.free} slots should be free:"
        f" {target.resource} is {now.allocatable}, expected {target.expected}"
    )


def _stuck(pod: ProbePod, event: str) -> str:
    reason = _joined(pod.cause, pod.why or event)
    if pod.cause in _IMAGE:
        return f"the image cannot be pulled: {reason}. Set image to one that the node can pull"
    return (
        f"the pod has its slots, but no container starts: {reason}. Check the driver, the NVIDIA"
        " container toolkit and CDI on the node"
    )


def failure_of_extra_pod(
    target: ProbeTarget, pod: ProbePod, now: SlotCount, seconds: int
) -> Failure | None:
    """Why the extra pod, which must wait, does not; None if it waits for the right reason."""
    if pod.stage is Stage.UNSCHEDULABLE:
        if target.resource in insufficient(pod):
            return None
        return Failure(f"the extra pod waits, but for another reason: {pod.why}", busy=True)
    if pod.stage is Stage.PENDING:
        return Failure(f"no scheduler handled the extra pod within {seconds} s")
    if pod.stage is Stage.GONE:
        return _removed(pod)
    if changed := meanwhile(target, now, fewer=False):
        return Failure(changed, busy=True)
    return Failure(
        f"the extra pod got a slot, although none should be left: {target.resource} is"
        f" {now.allocatable}, expected {target.expected}"
    )


def answer_of(pod: ProbePod) -> TwoSlots | None:
    """What happened to a pod that requests two slots; None if that is not known."""
    return {Stage.RUNNING: TwoSlots.ADMITTED, Stage.REFUSED: TwoSlots.REFUSED}.get(pod.stage)


def failure_of_two_slots(target: ProbeTarget, answer: TwoSlots) -> Failure | None:
    """What is wrong with the answer to a request of two slots; None if it is as expected."""
    if target.two in (answer, TwoSlots.EITHER):
        return None
    return Failure(
        f"a request of two slots was {answer.value}, but with profile {target.profile} it should be"
        f" {target.two.value} (failRequestsGreaterThanOne). Check that the plugin has loaded this"
        " profile"
    )


def failure_of_seen_gpus(pods: Iterable[ProbePod], *, required: bool) -> Failure | None:
    """What is wrong with the GPUs that pods of one slot see; None if nothing is."""
    pods = list(pods)
    blind = [pod.name for pod in pods if not pod.gpus]
    if required and blind:
        return Failure(
            f"{len(blind)} of {len(pods)} pods did not report a GPU. Use an image with nvidia-smi,"
            " or set require_uuids to false"
        )
    most = max((len(pod.gpus) for pod in pods), default=0)
    if most > 1:
        return Failure(
            f"a pod that requested one slot sees {most} GPUs: containers on this node are not"
            " restricted to the devices that the plugin allocates to them"
        )
    return None


def events_text(documents: Iterable[object]) -> str:
    """The last warning among the events of a pod, else that its image is being pulled."""
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


def _joined(what: str, detail: str) -> str:
    return f"{what}: {detail}" if detail else what
