# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the measurement that need neither node nor GPU."""

from __future__ import annotations

import json
import os
import sys
import tarfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.realnode.cost import (
    cases,
    main,
    python_image,
    schedule,
)
from ansible_collections.gpufleet.sharing.tests.realnode.cost.measure import OUT_OF_MEMORY
from ansible_collections.gpufleet.sharing.tests.realnode.cost.pods import (
    SESSION,
    Mount,
    Place,
    Work,
    in_words,
    manifest,
    state,
)
from ansible_collections.gpufleet.sharing.tests.realnode.cost.results import (
    LATENCY,
    LOADS,
    SATURATING,
    SHORT,
    SMALL,
    Failed,
    Round,
    Sample,
)

GOOD = Sample("p0", SATURATING, "GPU-1", 0, 1, 1, 1.0, "FLOP", 0, 0, 0, 0, 1, 2, 0, "")


def test_turns_do_not_touch_and_all_come_before_any_comes_again() -> None:
    planned = schedule.turns(2.5, 3)
    assert [turn.load for turn in planned] == [*LOADS, LATENCY] * 3
    for before, after in pairwise(planned):
        assert after.offset - before.end == pytest.approx(schedule.GAP)


def test_phases_of_pods_are_as_many_and_begin_together() -> None:
    planned = schedule.turns(2.5, 2)
    first, second = (schedule.phases(planned, place) for place in (0, 1))
    assert first[0] == "saturating@0+2.5"
    assert first[5].startswith(f"{SMALL}@")
    assert second[5].startswith(f"{SATURATING}@")
    assert [each.split("@")[1] for each in first] == [each.split("@")[1] for each in second]


def test_only_phases_that_all_pods_have_ended_make_a_round() -> None:
    planned = schedule.turns(1, 1)
    told = {"a": [GOOD, GOOD], "b": [GOOD]}
    found = list(schedule.rounds(planned, 2, told))
    assert [(each.load, each.replicas, len(each.samples)) for each in found] == [(SATURATING, 2, 2)]
    assert list(schedule.rounds(planned, 2, {"a": [GOOD], "b": []})) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"error": "out of memory"}, "pod p0 said 'out of memory'"),
        ({"late": 0.5}, "pod p0 began 0.50 s late"),
        ({}, ""),
    ],
)
def test_rounds_that_do_not_count(changed: dict[str, Any], said: str) -> None:
    one = Round(2, SATURATING, 1, (GOOD, replace(GOOD, **changed)))
    told = f"saturating, repetition 1, 2 replicas: {said}" if said else ""
    assert schedule.complaint(one) == told


def test_pods_have_to_see_the_same_gpu() -> None:
    other = replace(GOOD, uuid="GPU-2")
    refused = replace(GOOD, uuid="", error="no")
    schedule.same_gpu([Round(1, SATURATING, 1, (GOOD,)), Round(2, SHORT, 1, (GOOD, refused))])
    with pytest.raises(Failed, match="pods saw several GPUs: GPU-1, GPU-2"):
        schedule.same_gpu([Round(1, SATURATING, 1, (GOOD,)), Round(1, SHORT, 1, (other,))])


@pytest.mark.parametrize(
    ("left", "repetitions"), [(540, 3), (300, 2), (200, 1), (50, 1), (20, 0), (-5, 0)]
)
def test_affordable(left: float, repetitions: int) -> None:
    assert main.affordable(left, sessions=4, seconds=2.5, most=3, others=0) == repetitions


def test_default_run_fits_into_ten_minutes() -> None:
    options = main.parse(["--node", "n"])
    others = main.others_take(options)
    sessions = len(options.counts)
    left = options.budget - 40  # for the image
    assert options.budget <= 520
    assert main.affordable(left, sessions, options.seconds, options.repetitions, others) == 3


def test_parse() -> None:
    options = main.parse(["--node", "n", "--replicas", "8,1", "--only", "memory", "--stand-in"])
    assert (options.counts, options.parts, options.stand_in) == ((8, 1), ("memory",), True)
    assert options.place == Place("n", main.IMAGE)


def test_manifest() -> None:
    place = Place("n1", "i:1", mounts=(Mount("/a", "/b", read_only=False),))
    pod = manifest(place, "s", Work("w", ("x", "y"), {"K": "v"}))
    assert pod["metadata"]["labels"][SESSION] == "s"
    spec = pod["spec"]
    container = spec["containers"][0]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": "1"}}
    assert container["env"] == [{"name": "K", "value": "v"}]
    assert container["volumeMounts"] == [{"name": "m0", "mountPath": "/b", "readOnly": False}]
    assert "nodeName" not in spec
    assert "'n1'" in str(spec["affinity"])


def test_state_tells_how_a_pod_ended() -> None:
    ended = {"terminated": {"exitCode": 3, "reason": "Error", "startedAt": "x"}}
    pod = {
        "metadata": {"name": "w"},
        "status": {"phase": "Failed", "containerStatuses": [{"state": ended}]},
    }
    told = {"pod": "w", "phase": "Failed", "container": {"exitCode": 3, "reason": "Error"}}
    assert state(pod) == told
    refused = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no"}
    other = {"metadata": {"name": "v"}, "status": refused}
    assert in_words([pod, other]) == "w Failed Error; v Failed UnexpectedAdmissionError no"
    assert in_words([]) == "no pods"


def test_frameworks_of_a_group_fit_beside_each_other() -> None:
    for group in cases.GROUPS:
        assert sum(case.most + 1 for case in group) <= 78  # with its context
        assert len(group) <= 8
    names = [case.name for group in cases.GROUPS for case in group]
    assert len(names) == len(set(names))


def test_framework_pods() -> None:
    works = cases.works(cases.GROUPS[0], "/p/python3", {"PATH": "/p"})
    assert works[0].command == ("/p/python3", cases.PROGRAM, "pytorch", "pytorch-nothing")
    assert works[3].command[-1] == "0.25"
    assert works[1].env["PYTORCH_ALLOC_CONF"] == "per_process_memory_fraction:0.25"
    assert works[1].env["PATH"] == "/p"


def test_read_takes_the_last_line_of_its_name() -> None:
    line = json.dumps({"name": "a", "x": 1})
    assert cases.read("a", f'{{"name": "b"}}\n{line}\nwarning: {{}}\n[1]') == {"name": "a", "x": 1}
    assert cases.read("a", "Traceback\nImportError: x")["error"].endswith("ImportError: x")
    assert cases.read("a", "") == {"name": "a", "error": "said nothing"}


@pytest.mark.parametrize(
    ("attempts", "limited"),
    [([True, False], True), ([True, True], False), ([False, False], None), ([], None)],
)
def test_limits(attempts: list[bool], limited: bool | None) -> None:
    assert cases.limits({"attempts": [{"taken": taken} for taken in attempts]}) is limited


def test_setting_is_told_as_it_is_written() -> None:
    assert cases.setting({"environment": {"A": "1"}}) == "`A=1`"
    assert cases.setting({"fraction": "0.25"}).endswith("fraction(0.25)`")
    assert cases.setting({}) == "nothing"


def test_hog_has_let_go_before_the_last_pod_asks() -> None:
    def times(phase: str) -> tuple[float, float]:
        begin, seconds = phase.split("@")[1].split("+")
        return float(begin), float(begin) + float(seconds) + schedule.WARM + schedule.COOL

    hog, late, after = (times(OUT_OF_MEMORY[pod][0]) for pod in ("hog", "late", "after"))
    assert hog[0] < late[0] < late[1] < hog[1] < after[0]
    assert times(OUT_OF_MEMORY["holder"][-1])[1] > after[0]


LDD = """\tlinux-vdso.so.1 (0x00007ffe)
\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)
\tlibcuda.so.1 => /usr/local/nvidia/lib64/libcuda.so.1 (0x00007f)
\tlibcudart.so.13 => /usr/local/cuda/lib64/libcudart.so.13 (0x00007f)
\tlibnvidia-ml.so.1 => /lib/x86_64-linux-gnu/libnvidia-ml.so.1 (0x00007f)
\tlibgone.so => not found
\t/lib64/ld-linux-x86-64.so.2 (0x00007f)
"""


def test_ldd_is_read_without_the_driver() -> None:
    found = list(map(str, python_image.read_ldd(LDD)))
    assert found == ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"]


def test_links_are_followed_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "python3.12").touch()
    (tmp_path / "python3").symlink_to("python3.12")
    (tmp_path / "venv").symlink_to(tmp_path / "python3")
    found = list(python_image.links_of(tmp_path / "venv"))
    assert [target for _path, target in found] == [str(tmp_path / "python3"), "python3.12"]
    (tmp_path / "circle").symlink_to("circle")
    assert len(list(python_image.links_of(tmp_path / "circle"))) == 20


def test_layer_puts_files_where_the_links_of_an_image_lead(tmp_path: Path) -> None:
    source = tmp_path / "lib.so"
    source.write_bytes(b"x" * 10)
    os.link(source, tmp_path / "same")
    (tmp_path / "link").symlink_to("lib.so")
    layer = python_image.Layer()
    layer.link("lib", "usr/lib")
    layer.file(source, "/lib/a/lib.so")
    layer.file(tmp_path / "link", "/lib/a/lib.so")
    layer.file(tmp_path / "same", "/lib64/same.so")
    out = tmp_path / "layer.tar"
    out.write_bytes(layer.content())
    with tarfile.open(out) as tar:
        entries = {entry.name: (entry.type, entry.size) for entry in tar.getmembers()}
    assert entries["lib"] == (tarfile.SYMTYPE, 0)
    assert entries["usr/lib/a/lib.so"] == (tarfile.REGTYPE, 10)
    assert entries["usr/lib64/same.so"] == (tarfile.REGTYPE, 10)
    assert len(entries) == 3


def test_interpreter_is_asked_where_it_is() -> None:
    python = python_image.ask(sys.executable)
    assert python.executable == Path(sys.executable)
    assert (python.stdlib / "json" / "__init__.py").exists()
    assert python.native.is_dir()
