# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: checks the variables of all roles at once, by their meta/argument_specs.yml.

Ansible would do so role by role, with a task for each: some in the middle of a change, and each
with three lines of output.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load
from ansible.template import Templar

from ..module_utils._common.inputs import input_problem
from ..module_utils._fleet.inventory import VARIABLE_PREFIX

_ROLES = Path(__file__).resolve().parents[2] / "roles"


@cache
def role_options() -> dict[str, dict[str, Any]]:
    """{variable: its specification}, of all entry points of all roles."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(_ROLES.glob("*/meta/argument_specs.yml")):
        for entry in yaml_load(file.read_text("utf-8"))["argument_specs"].values():
            found |= entry["options"]
    return found


def check_inputs(templar: Templar) -> None:
    """Raise AnsibleActionFail with all variables of roles that have a wrong type or value.

    Those without a value yet are left out: whoever needs them fails.
    """
    options = role_options()
    shared = {name: options[name] for name in options if name.startswith(VARIABLE_PREFIX)}
    others = {name: option for name, option in options.items() if name not in shared}
    for part in (shared, others):  # most inputs of roles come from shared variables
        if errors := _errors(part, templar):
            raise AnsibleActionFail("; ".join(errors))


def _errors(options: Mapping[str, Mapping[str, Any]], templar: Templar) -> list[str]:
    values, specs, errors = {}, {}, []
    for name, option in options.items():
        try:
            if name not in templar.available_variables:
                continue
            value = templar.template(templar.available_variables[name])
        except AnsibleError:
            continue
        problem = input_problem(name, value, str(option.get("type", "str")))
        if problem and not option.get("no_log"):  # of a secret, without its value: _secret_error
            errors.append(problem)
            continue
        values[name] = value
        specs[name] = {key: value for key, value in option.items() if key != "required"}
    return [
        *errors,
        *ArgumentSpecValidator({n: spec for n, spec in specs.items() if not spec.get("no_log")})
        .validate({n: value for n, value in values.items() if not specs[n].get("no_log")})
        .error_messages,
        *(_secret_error(n, spec) for n, spec in specs.items() if _is_wrong(n, spec, values[n])),
    ]


def _is_wrong(name: str, spec: Mapping[str, Any], value: object) -> bool:
    """Whether a secret has the wrong type."""
    if not spec.get("no_log"):
        return False
    return bool(ArgumentSpecValidator({name: spec}).validate({name: value}).error_messages)


def _secret_error(name: str, spec: Mapping[str, Any]) -> str:
    """The message for a secret, without its value."""
    return f"{name} has a wrong type; allowed: {spec['type']}. The value is not shown."
