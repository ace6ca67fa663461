# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the frame of every module: connection options, one exception tree,
one way to fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import SharingError

try:
    from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
except ImportError:  # connect() reports it
    AUTH_ARG_SPEC = {}

Spec = Mapping[str, Mapping[str, object]]
Result = dict[str, object]


def run_module(spec: Spec, run: Callable[[AnsibleModule], Result], **options: object) -> None:
    """Run a module: its options beside kubernetes.core's, its result, or one message when it
    cannot be done.
    """
    module = AnsibleModule(
        argument_spec={**AUTH_ARG_SPEC, **spec}, supports_check_mode=True, **options
    )
    try:
        result = run(module)
    except SharingError as error:
        module.fail_json(msg=str(error), problems=list(error.problems))
    module.exit_json(**result)
