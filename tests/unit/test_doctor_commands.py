# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in findings run as printed, also with awkward names and many nodes."""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from dataclasses import replace

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.catalog import CHECKS
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    Check,
    Finding,
    Match,
    diagnose,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.texts import commands
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import PLUGIN_APP
from ansible_collections.gpufleet.sharing.tests.unit.fake_snapshot import healthy, pod_path
from ansible_collections.gpufleet.sharing.tests.unit.test_doctor_checks import CASES

MANY = tuple(f'o\'node "{number:02}"' for number in range(25))
PROGRAMS = ("kubectl", "helm", "systemctl", "nvidia-smi", "ansible-playbook")
PLACEHOLDER = re.compile(r"<|>|\.\.\.|\b[A-Z]{2,}\b|^N$|\{\w*\}")
WITH_COMMANDS = [check for check in CHECKS if commands(check.fix)]


class Awkward(defaultdict[str, str]):
    """Any value of a text, which a shell must not split or expand."""

    def __missing__(self, name: str) -> str:
        return f'it\'s "$({name})"'


def rendered(check: Check, nodes: tuple[str, ...] = MANY) -> Finding:
    """The finding of a check on many nodes, whatever its values are."""
    fields = set(re.findall(r"\{(\w+)", check.cause + check.seen + check.why + check.fix))
    values = {name: Awkward()[name] for name in fields - {"node", "nodes", "count"}}
    match = Match(nodes, values)
    alone = replace(check, find=lambda _snapshot: [match], follows=(), reads=())
    (found,) = diagnose(healthy().snapshot(), [alone])
    return found


@pytest.mark.parametrize("check", WITH_COMMANDS, ids=lambda check: check.code)
def test_a_shell_reads_each_command_as_it_is_meant(check: Check) -> None:
    """A value is one word, or part of one."""
    for template, command in zip(commands(check.fix), commands(rendered(check).fix), strict=True):
        words = shlex.split(command)
        assert words[0] in PROGRAMS
        for name in re.findall(r"(?<!\{)\{(\w+)", template):
            values = MANY if name == "nodes" else (MANY[0] if name == "node" else Awkward()[name],)
            for value in values:
                inner = json.dumps(value)[1:-1]
                assert any(value in word or inner in word for word in words), (name, words)
        if "-p" in words:
            assert json.loads(words[words.index("-p") + 1])["spec"]
        if "-n" in words:
            assert Awkward()["namespace"] in words or "other" in template


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_commands_are_marked(check: Check) -> None:
    """A command outside backticks is not tested by anything here."""
    prose = re.sub(r"`[^`]*`", "", check.fix)
    assert not re.search(r"kubectl|helm \w+ -|ansible-playbook|systemctl", prose)


@pytest.mark.parametrize("name", CASES)
def test_commands_of_a_real_finding_hold_no_placeholder(name: str) -> None:
    _code, break_it, _follows = CASES[name]
    fleet = healthy()
    break_it(fleet)
    for finding in fleet.find():
        for command in commands(finding.fix):
            words = shlex.split(command)
            assert words[0] in PROGRAMS
            assert [word for word in words if PLACEHOLDER.search(word)] == []


def test_all_nodes_are_in_the_command_while_the_text_shows_some() -> None:
    fleet = healthy()
    names = [f"gpu-{number:02}" for number in range(25)]
    for name in names:
        fleet.add_node(name, None, 2)
        fleet.node(name)["spec"]["unschedulable"] = True
    (found,) = (finding for finding in fleet.find() if finding.code == "GS022")
    assert commands(found.fix) == [f"kubectl uncordon {' '.join(names)}"]
    assert names[-1] not in found.seen


def test_namespace_of_the_operator_is_in_commands() -> None:
    """Also if the inventory expects another one."""
    fleet = healthy()
    moved = {
        path.replace("/gpu-operator/", "/gpus/"): document
        for path, document in fleet.objects.items()
    }
    for document in moved.values():
        if document["metadata"].get("namespace") == "gpu-operator":
            document["metadata"]["namespace"] = "gpus"
    fleet.objects = moved
    policy = moved["/apis/nvidia.com/v1/clusterpolicies/cluster-policy"]
    policy["status"]["namespace"] = "gpus"
    del moved[pod_path(PLUGIN_APP, "dev-1").replace("/gpu-operator/", "/gpus/")]
    fleet.labels("prod-1")["nvidia.com/gpu.replicas"] = "1"
    shown = [
        words[words.index("-n") + 1]
        for finding in fleet.find()
        for command in commands(finding.fix)
        if "-n" in (words := shlex.split(command))
    ]
    assert {"gpus"} == {name for name in shown if name.startswith("gpu")}
