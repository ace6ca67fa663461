# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of roles with a wrong type or value are refused at once, before a connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleUndefinedVariable

from ansible_collections.gpufleet.sharing.plugins.plugin_utils._role_inputs import (
    check_inputs,
    role_options,
)

UNDEFINED = object()


def templar(**variables: object) -> Any:
    def template(value: object) -> object:
        if value is UNDEFINED:
            raise AnsibleUndefinedVariable("undefined")
        return value

    return SimpleNamespace(available_variables=variables, template=template)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"gpu_sharing_drain": "evict", "gpu_nodes_drain": "evict", "something_else": 1},
        {"gpu_sharing_profiles": UNDEFINED},  # as in a rollback, before it has read the revision
        {"gpu_operator_timeout": "600", "gpu_operator_remove_crds": "yes"},  # as from a survey
    ],
)
def test_inputs_that_are_accepted(variables: dict[str, object]) -> None:
    check_inputs(templar(**variables))


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"gpu_operator_manage": "hlem"}, ("gpu_operator_manage", "hlem", "existing")),
        ({"gpu_operator_values": "x"}, ("gpu_operator_values",)),
        ({"gpu_operator_values": ["sesame"], "gpu_sharing_proxy": {}}, ("gpu_operator_values",)),
        ({"gpu_operator_timeout": "soon"}, ("gpu_operator_timeout",)),
        (
            {"gpu_sharing_drain": "x", "gpu_sharing_rollout_mode": "y"},
            ("gpu_sharing_drain", "gpu_sharing_rollout_mode"),
        ),
    ],
)
def test_inputs_that_are_refused(variables: dict[str, object], named: tuple[str, ...]) -> None:
    with pytest.raises(AnsibleActionFail) as refused:
        check_inputs(templar(**variables))
    assert [name for name in named if name not in str(refused.value)] == []
    assert "sesame" not in str(refused.value)


def test_secrets_are_marked() -> None:
    """Ansible, its callbacks and tools that read specifications do not show them."""
    marked = {name for name, option in role_options().items() if option.get("no_log")}
    assert marked == {
        "gpu_operator_values",
        "gpu_verify_operator_values",
        "gpu_sharing_api_key",
        "gpu_sharing_client_key",
        "gpu_sharing_kubeconfig",
        "gpu_sharing_proxy",
        "gpu_sharing_prometheus_token",
        "gpu_sharing_prometheus_url",
        "gpu_report_prometheus_token",
        "gpu_report_prometheus_url",
    }


@pytest.mark.parametrize(
    "value",
    ["sesame: [", "a: sesame\nb: c", "{sesame", ["sesame"], 271828, "sesame"],
)
def test_values_of_secrets_are_not_shown(value: object) -> None:
    with pytest.raises(AnsibleActionFail) as refused:
        check_inputs(templar(gpu_operator_values=value))
    assert "gpu_operator_values" in str(refused.value)
    assert "sesame" not in str(refused.value)
    assert "271828" not in str(refused.value)


def test_wrong_shared_variable_is_named_once() -> None:
    """Not the inputs of roles that come from it."""
    with pytest.raises(AnsibleActionFail) as refused:
        check_inputs(templar(gpu_sharing_drain="x", gpu_nodes_drain="x"))
    assert "gpu_nodes_drain" not in str(refused.value)


def test_all_roles_are_known() -> None:
    prefixes = {name.split("_")[1] for name in role_options()}
    expected = {"access", "nodes", "operator", "plan", "preflight", "profiles", "report"}
    assert prefixes == expected | {"sharing", "verify"}
