# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options in messages, under the names by which the reader knows them; and modules of ours that run
in the process of their action.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    FleetError,
    joined,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.options import with_names
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._in_process import run_here

SPEC: Mapping[str, Mapping[str, object]] = {
    "batches": {"type": "list", "elements": "str", "default": ["1"]},
    "drain": {"type": "str", "choices": ["refuse", "evict"], "default": "refuse"},
}


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("O(batches) is 4", {}, "batches is 4"),
        ("O(batches) is 4", {"batches": "gpu_sharing_rollout_batches"}, None),
        ("O(batches) or O(drain)", {"drain": "d"}, "batches or d"),
        ("no option: O(), O(A), batches", {"batches": "b"}, "no option: O(), O(A), batches"),
    ],
)
def test_with_names(text: str, names: Mapping[str, object], expected: str | None) -> None:
    assert with_names(text, names) == (expected or "gpu_sharing_rollout_batches is 4")


def done(work: Any, **arguments: object) -> dict[str, Any]:
    return run_here(SPEC, work, arguments, ".", check_mode=True)


def test_module_gets_its_options_with_defaults() -> None:
    def work(module: Any) -> Mapping[str, object]:
        module.warn("careful")
        return {"changed": False, "got": (module.params["batches"], module.check_mode)}

    found = done(work, batches="1,2")
    assert found == {"changed": False, "got": (["1", "2"], True), "warnings": ["careful"]}


def test_error_is_a_failed_result_with_the_names_of_the_caller() -> None:
    def work(_module: Any) -> Mapping[str, object]:
        raise joined(FleetError, ["O(drain) is x", "O(batches) is y"])

    found = done(work, option_names={"drain": "gpu_sharing_drain"})
    assert found["failed"] is True
    assert "gpu_sharing_drain is x" in found["msg"]
    assert "problems" not in found  # the message shows them


def test_problems_are_listed_where_the_message_cannot_show_them_all() -> None:
    def work(_module: Any) -> Mapping[str, object]:
        raise joined(FleetError, [f"O(batches) is {number}" for number in range(60)])

    found = done(work, option_names={"batches": "gpu_sharing_batches"})
    assert found["problems"] == [f"gpu_sharing_batches is {number}" for number in range(60)]


@pytest.mark.parametrize("arguments", [{"drain": "maybe"}, {"bogus": 1}])
def test_arguments_that_the_module_does_not_take(arguments: dict[str, object]) -> None:
    with pytest.raises(AnsibleActionFail) as caught:
        done(lambda _module: {}, **arguments)
    (name,) = arguments
    assert name in str(caught.value)


def test_secrets_are_in_no_result() -> None:
    def work(module: Any) -> Mapping[str, object]:
        assert module.params["api_key"] == "sesame-open"
        return {"msg": "the token is sesame-open"}

    assert "sesame-open" not in str(done(work, api_key="sesame-open"))


def test_program_that_there_is_not() -> None:
    found = done(lambda module: {"ran": module.run_command(["no-such-program-here"])})
    assert found["ran"][0] == 127


def test_programs_run_where_ansible_runs_modules(tmp_path: Path) -> None:
    """Else Helm would read a relative chart, or one of the same name, from two folders."""

    def work(module: Any) -> dict[str, object]:
        return {"folder": module.run_command(["pwd"])[1].strip()}

    found = run_here({}, work, {}, str(tmp_path), check_mode=True)
    assert found["folder"] == str(tmp_path)
