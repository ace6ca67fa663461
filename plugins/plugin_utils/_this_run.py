# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: whether the guard has run in this run of ansible-playbook, and whether the run's tags
leave out what follows it.

A fact cache keeps the fact of earlier runs, and Ansible can skip any task, so the fact alone proves
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ansible import constants, context
from ansible.playbook.block import Block
from ansible.playbook.task import Task

from ..module_utils._common.errors import FleetError
from ..module_utils._common.values import is_list
from ..module_utils._fleet.inventory import CLUSTERS_GROUP, IMPLICIT_CLUSTER

if TYPE_CHECKING:
    from ansible.playbook.play import Play

RUN_FACT = "gpu_sharing_run"


def this_run() -> str:
    """A name that only this run has: the temporary folder that Ansible creates at each start."""
    return str(constants.DEFAULT_LOCAL_TMP)


def cluster_hosts(groups: Mapping[object, object], hostvars: Mapping[object, object]) -> str:
    """The hosts of plays over clusters. Raises FleetError if the guard has not run in this run.

    Without hostvars, Ansible only lists or checks a playbook.
    """
    if hostvars:
        facts = _mapping(_mapping(hostvars.get(IMPLICIT_CLUSTER)).get("ansible_facts"))
        if facts.get(RUN_FACT) != this_run() and not _skips_whole_playbook():
            raise FleetError(
                "this run has skipped the task 'Read the fleet' of the playbook guard, so it does"
                " not know the inventory. Run again without --start-at-task and without"
                " --skip-tags always."
            )
    return CLUSTERS_GROUP if CLUSTERS_GROUP in groups else IMPLICIT_CLUSTER


def _skips_whole_playbook() -> bool:
    """Whether a guard that has not run was skipped by a tag of its import_playbook in --skip-tags.
    Then all that follows is skipped as well.
    """
    skip = set(context.CLIARGS.get("skip_tags") or ())
    guard_alone = context.CLIARGS.get("start_at_task") or skip & {"always", "tagged"}
    return not guard_alone and bool(skip - {"all", "untagged", "never"})


def leaves_out_work(play: Play, variables: Mapping[str, object]) -> bool:
    """Whether --tags or --skip-tags skip the tasks after the guard. They have the tags of their
    import_playbook, as the play of the guard has.
    """
    only, skip = variables.get("ansible_run_tags"), variables.get("ansible_skip_tags")
    return not Task(block=Block(play=play)).evaluate_tags(only, skip, dict(variables))


def given_tags(variables: Mapping[str, object]) -> str:
    """The options of the run that choose tags."""
    options = {"--tags": "ansible_run_tags", "--skip-tags": "ansible_skip_tags"}
    given = {option: variables.get(name) for option, name in options.items()}
    return " ".join(
        f"{option} {','.join(map(str, tags))}"
        for option, tags in given.items()
        if is_list(tags) and list(tags) not in ([], ["all"])
    )


def _mapping(value: object) -> Mapping[object, object]:
    return value if isinstance(value, Mapping) else {}
