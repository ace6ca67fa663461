# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs are read alike, whether an inventory, -e or a survey of AWX gives them, on each version of
ansible-core; what is blank is not set.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.inputs import (
    input_problem,
    is_blank,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.limit import Selection
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._answers import (
    blank_answers,
    check_answers,
)
from ansible_collections.gpufleet.sharing.tests.unit.ansible_runs import (
    group,
    run_playbook,
    write_hosts,
)
from ansible_collections.gpufleet.sharing.tests.unit.ansible_versions import programs
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

KINDS = ("bool", "int", "str", "list", "dict")
#: What a survey gives, what ansible-core reads from 2.19 on, and the kinds that accept both
ANSWERS = [
    ("", None, KINDS),
    ("null", None, KINDS),
    ("~", None, KINDS),
    ("true", True, ("bool",)),
    ("No", False, ("bool",)),
    ("on", True, ("bool",)),
    ("1", 1, ("bool", "int", "str", "list")),
    ("10", 10, ("int", "str", "list")),
    ("-3", -3, ("int", "str", "list")),
    ("2.5", 2.5, ("list",)),
    ("2026-11-30", date(2026, 11, 30), ()),
    ("dev", "dev", ("str", "list")),
    ("25%", "25%", ("str", "list")),
    ("1,25%", "1,25%", ("str", "list")),
    ("10 ", "10 ", ("int", "str", "list")),
    ("soon", "soon", ("str", "list")),
    ('{"dev": {"replicas": 8}}', '{"dev": {"replicas": 8}}', ("str",)),
    ("dev: {replicas: 8}", "dev: {replicas: 8}", ("str", "list")),
    ("dev=8", "dev=8", ("str", "list")),
    ("[1, 2]", "[1, 2]", ("str",)),
]


def as_awx_writes(variables: dict[str, object]) -> str:
    """The file of extra variables: each text is !unsafe (awx/main/utils/safe_yaml.py)."""
    texts = (
        f"!unsafe '{name}': "
        + (f"!unsafe {json.dumps(value)}" if isinstance(value, str) else json.dumps(value))
        for name, value in variables.items()
    )
    return "\n".join(texts) + "\n"


@pytest.mark.parametrize(("text", "read", "kinds"), ANSWERS, ids=[repr(row[0]) for row in ANSWERS])
def test_answers_of_surveys(text: str, read: object, kinds: tuple[str, ...]) -> None:
    """As a text (ansible-core 2.18), as 2.19 reads it, and as this one does. What a text would
    lose there is refused: 'true' as the name of a profile.
    """
    here = DataLoader().load(as_awx_writes({"x": text}))["x"]
    assert here in (text, read)
    assert is_blank(text) is is_blank(read) is is_blank(here)
    for kind in KINDS:
        if is_blank(text):
            assert input_problem("x", read, kind) == ""
            continue
        assert (input_problem("x", read, kind) == "") is (kind in kinds), kind
        if kind != "str" and not isinstance(read, date | float | bool):
            assert (input_problem("x", text, kind) == "") is (kind in kinds), kind


@pytest.mark.parametrize(
    ("value", "kind", "facts"),
    [
        (2.5, "int", ("2.5", "whole number")),
        ("10.0", "int", ("10.0", "whole number")),
        ("2.5", "int", ("2.5", "whole number")),
        (True, "int", ("true", "whole number")),
        (1.0, "bool", ("1.0", "true or false")),
        ("t", "bool", ("'t'", "true or false")),
        (["sesame"], "str", ("a list", "a text")),
        ("dev: {replicas: 8}", "dict", ("a mapping", "survey")),
        (date(2026, 11, 30), "list", ("2026-11-30", "a list")),
        ({"a": 1}, "list", ("a list",)),
    ],
)
def test_values_that_are_refused(value: object, kind: str, facts: tuple[str, ...]) -> None:
    problem = input_problem("gpu_x", value, kind)
    assert mentions(problem, "gpu_x", *facts)
    assert "sesame" not in problem


def test_blank_answers_are_those_of_ours() -> None:
    extra: dict[str, object] = {
        "gpu_sharing_drain": "",
        "gpu_nodes_pause": None,
        "gpu_operator_values": {},
        "other": "",
    }
    assert blank_answers({**extra, "gpu_sharing_report": " "}) == [
        "gpu_sharing_drain",
        "gpu_nodes_pause",
        "gpu_sharing_report",
    ]


@pytest.mark.parametrize(
    ("extra", "selection", "named"),
    [
        ({}, Selection(), []),
        ({"gpu_sharing_profile": "dev"}, Selection(), ["gpu_sharing_profile"]),
        ({"gpu_sharing_profile": "dev"}, Selection(["c1"], "c1"), ["gpu_sharing_profile"]),
        ({"gpu_sharing_profile": "dev"}, Selection(["c1", "n1"], "c1,n1"), []),
        ({"gpu_sharing_gpus": 8}, Selection(["c1"], "c1"), ["gpu_sharing_gpus"]),
        ({"gpu_sharing_cluster": "c1"}, Selection(["c1", "n1"], "c1,n1"), ["gpu_sharing_cluster"]),
        ({"gpu_sharing_node_name": "n"}, Selection(), ["gpu_sharing_node_name"]),
        ({"gpu_sharing_drain": ""}, Selection(), ["gpu_sharing_drain"]),
        (
            {"gpu_sharing_drain": None, "gpu_sharing_profile": "dev"},
            Selection(),
            ["gpu_sharing_drain", "gpu_sharing_profile"],
        ),
    ],
)
def test_extra_variables_that_are_refused(
    extra: dict[str, object], selection: Selection, named: list[str]
) -> None:
    if not named:
        check_answers(extra, selection, ["n1", "n2"])
        return
    with pytest.raises(FleetError) as refused:
        check_answers(extra, selection, ["n1", "n2"])
    assert [problem.split()[0] for problem in refused.value.problems] == named


BLANK: dict[str, object] = {
    "gpu_sharing_profile": "",
    "gpu_sharing_profiles": "",
    "gpu_sharing_default_profile": " ",
    "gpu_sharing_drain": "",
    "gpu_sharing_gpus": "",
    "gpu_sharing_rollout_timeout": "null",
    "gpu_sharing_exclusive": "",
    "gpu_sharing_validate_certs": None,
    "gpu_operator_timeout": "",
    "gpu_sharing_rollout_batches": "",
}
GIVEN: dict[str, object] = {
    "gpu_sharing_exclusive": "false",
    "gpu_operator_timeout": "600",
    "gpu_sharing_rollout_batches": "1,25%",
    "gpu_sharing_rollout_pause": "10",
    "gpu_sharing_rollout_max_failures": 1,
    "gpu_sharing_drain": "refuse",
    "gpu_sharing_allow_empty": "yes",
}
WRONG: dict[str, object] = {
    "gpu_sharing_profiles": "dev: {replicas: 8}",
    "gpu_sharing_rollout_timeout": 2.5,
    "gpu_sharing_rollout_pause": "2026-11-30",
    "gpu_sharing_exclusive": "maybe",
    "gpu_sharing_drain": "evcit",
}


@pytest.fixture(params=["this", "2.18"])
def tools(request: pytest.FixtureRequest) -> Path | None:
    return programs("core-2.18") if request.param == "2.18" else None


def run_job(folder: Path, variables: dict[str, object], tools: Path | None, *more: str) -> str:
    """What validate says, with extra variables as AWX gives them, of 3 nodes with profile dev and
    one with prod. It names what fails.
    """
    file = folder / "extravars"
    file.write_text(as_awx_writes(variables), encoding="utf-8")
    nodes = {
        "dev_gpus": group("n1", "n2", "n3", gpu_sharing_profile="dev", gpu_sharing_gpus=2),
        "prod_gpus": group("n4", gpu_sharing_profile="prod", gpu_sharing_gpus=2),
    }
    inventory = write_hosts(folder, nodes, gpu_sharing_default_profile="prod")
    run = run_playbook("gpufleet.sharing.validate", inventory, "-e", f"@{file}", *more, tools=tools)
    return ("" if run.code == 0 else "FAILED ") + run.text


def test_blank_answers_leave_the_inventory_as_it_is(tools: Path | None, tmp_path: Path) -> None:
    blank = run_job(tmp_path, BLANK, tools)
    assert blank == run_job(tmp_path, {"awx_job_id": 112}, tools)
    assert mentions(blank, "dev_gpus", "dev", 3, 48)
    assert "FAILED" not in blank


def test_answers_are_read_alike(tools: Path | None, tmp_path: Path) -> None:
    assert run_job(tmp_path, GIVEN, tools) == run_job(tmp_path, {"awx_job_id": 112}, tools)
    wrong = run_job(tmp_path, WRONG, tools)
    assert mentions(wrong, "FAILED", *WRONG, "2.5", "2026-11-30", "maybe", "evcit")


def test_profile_as_an_answer(tools: Path | None, tmp_path: Path) -> None:
    """Not for all nodes; for those of the limit, it leaves others as they are."""
    answer: dict[str, object] = {"gpu_sharing_profile": "default"}
    everything = run_job(tmp_path, answer, tools)
    assert mentions(everything, "FAILED", "gpu_sharing_profile", 4, "limit")
    one = run_job(tmp_path, answer, tools, "--limit", "localhost,n1")
    assert mentions(one, "default", "dev_gpus", 8)
    assert "FAILED" not in one
