# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the entry point of every module: connection options, result and failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ansible.module_utils.basic import AnsibleModule

from .errors import SharingError
from .options import OPTION_NAMES, with_names
from .secrets import secrets_of_options

try:
    from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
except ImportError:  # connect() reports it
    AUTH_ARG_SPEC = {}

Spec = Mapping[str, Mapping[str, object]]
Result = dict[str, object]

MOST_IN_MESSAGE = 20  # problems; every message shows as many


def run_module(
    spec: Spec,
    run: Callable[[AnsibleModule], Result],
    *,
    connects: bool = True,
    called: Mapping[str, str] | None = None,
    **options: object,
) -> None:
    """Run a module with its own options and, if it connects, those of kubernetes.core. A
    SharingError becomes the message of the failure.

    called maps options in messages to this module's names for them.
    """
    own = options_with(spec, connects=connects)
    module = AnsibleModule(argument_spec=own, supports_check_mode=True, **options)
    module.no_log_values.update(secrets_of_options(module.params))
    names = {**(called or {}), **module.params[OPTION_NAMES]}
    try:
        result = run(module)
    except SharingError as error:
        module.fail_json(**failure(error, names))
    module.exit_json(**result)


def failure(error: SharingError, names: Mapping[str, str]) -> Result:
    """The message of an error, and all problems where there are more than messages show."""
    shown: Result = {"msg": with_names(str(error), names)}
    if len(error.problems) > MOST_IN_MESSAGE:
        shown["problems"] = [with_names(problem, names) for problem in error.problems]
    return shown


def options_with(spec: Spec, *, connects: bool = True) -> Spec:
    """The options of a module, with those of all modules."""
    own = {OPTION_NAMES: {"type": "dict", "default": {}}}
    return {**(AUTH_ARG_SPEC if connects else {}), **own, **spec}


def warn(module: AnsibleModule, text: str) -> None:
    """Warn, with options under the names that the caller uses."""
    module.warn(with_names(text, module.params.get(OPTION_NAMES)))
