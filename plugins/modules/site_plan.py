#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: site_plan
short_description: Plan everything that the playbook site would change
version_added: 0.1.0
description:
  - Internal to the role P(gpufleet.sharing.gpu_plan#role). It plans in one process and from one
    read of the cluster, instead of one run in check mode per module.
  - Plans what M(gpufleet.sharing.profiles), M(gpufleet.sharing.helm_release),
    M(gpufleet.sharing.cluster_policy), M(gpufleet.sharing.mig_config) and
    M(gpufleet.sharing.rollout) would change, and compares slots as
      M(gpufleet.sharing.sharing_info) does. What any of them rejects is rejected.
  - A change of content, release or device plugin config that also reaches nodes that are not
    selected is rejected.
  - Reads only. Runs C(helm show chart) on the controller.
options:
  profiles:
    description: What is asked of the ConfigMap, as options of M(gpufleet.sharing.profiles).
    type: dict
    required: true
    suboptions:
      profiles:
        description: The profiles, as of M(gpufleet.sharing.profiles).
        type: dict
        required: true
      name:
        description: Name of the ConfigMap.
        type: str
        default: device-plugin-config
      namespace:
        description: Namespace of the ConfigMap and the GPU Operator.
        type: str
        default: gpu-operator
      create_namespace:
        description: Whether a missing namespace is created.
        type: bool
        default: true
      mig_strategy:
        description: The MIG strategy that the operator gets.
        type: str
        choices: [unknown, "", none, single, mixed]
        default: unknown
      plugin_version:
        description: The version of the device plugin that the operator gets.
        type: str
        default: ""
      mode:
        description: The rollout mode.
        type: str
        choices: [in_place, versioned]
        default: in_place
      default_profile:
        description: The profile of nodes without a label.
        type: str
        required: true
      prune:
        description: Whether keys that are not profiles are removed at the end.
        type: bool
        default: false
      final:
        description: Whether older versions of profiles may be removed at the end.
        type: bool
        default: true
  operator:
    description: What is asked of the GPU Operator.
    type: dict
    default: {}
    suboptions:
      manage:
        description: Whether Helm manages the operator, or somebody else.
        type: str
        choices: [helm, existing]
        default: helm
      cluster_policy:
        description: Name of the ClusterPolicy.
        type: str
        default: cluster-policy
      release:
        description: Name of the Helm release.
        type: str
        default: gpu-operator
      chart_ref:
        description: The chart, as of M(gpufleet.sharing.helm_release).
        type: str
        default: ""
      chart_repo_url:
        description: URL of the chart's repository.
        type: str
        default: ""
      chart_version:
        description: Version of the chart. Empty for the newest one.
        type: str
        default: ""
      values:
        description: Values to merge over those of the release.
        type: dict
        default: {}
      values_exact:
        description: Whether values that O(operator.values) does not set are dropped.
        type: bool
        default: false
  rollout:
    description: What is asked of the rollout, as options of M(gpufleet.sharing.rollout).
    type: dict
    default: {}
    suboptions:
      exclusive:
        description: Whether GPU nodes of the cluster that are not in O(nodes) lose the label.
        type: bool
        default: false
      unavailable_nodes:
        description: What to do if a selected node is not in the cluster.
        type: str
        choices: [fail, report]
        default: report
      batches:
        description: Sizes of the batches.
        type: list
        elements: str
        default: ["1", "25%"]
      pause:
        description: Seconds between batches.
        type: int
        default: 0
      max_failures:
        description: Number of nodes that may fail.
        type: int
        default: 0
      on_failure:
        description: What to do when the rollout stops.
        type: str
        choices: [rollback, stop]
        default: rollback
      drain:
        description: What to do with running pods that the change would disrupt.
        type: str
        choices: [refuse, evict, ignore]
        default: refuse
      drain_timeout:
        description: Seconds that the evictions of one batch may take.
        type: int
        default: 300
      timeout:
        description: Seconds that a node may take to settle.
        type: int
        default: 600
      stable_seconds:
        description: Seconds that a node's numbers must stay correct.
        type: int
        default: 20
      mig_timeout:
        description: Seconds that a batch may take to get its MIG configuration.
        type: int
        default: 900
  explain:
    description: Whether what O(rollout.drain) would refuse is only quote.
    type: bool
    default: false
  drift:
    description: Whether everything is compared with the inventory, for RV(drift).
    type: bool
    default: false
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
  - gpufleet.sharing.nodes
attributes:
  diff_mode:
    support: none
    description: Changes nothing, so there is no difference to show.
"""

EXAMPLES = r"""
- name: Plan two profiles on two nodes
  gpufleet.sharing.site_plan:
    nodes:
      - {name: dev-gpu-01, profile: dev}
      - {name: prod-gpu-01}
    profiles:
      profiles:
        default: {replicas: 4}
        dev: {replicas: 8}
      default_profile: default
    operator:
      manage: existing
"""

RETURN = r"""
todo:
  description: >-
    The stages with something to do: C(profiles), C(operator), C(wait) (the operator does not use
    the profiles yet), C(rollout), C(prune), and C(verify) (what was read changes).
  type: dict
  returned: success
rendered:
  description: >-
    The checked profiles, each with C(file), C(hash) and C(mig). Modules accept them instead of
    definitions.
  type: dict
  returned: success
uses_mig:
  description: Whether a profile of a selected node has a MIG configuration.
  type: bool
  returned: success
no_nodes:
  description: Whether the cluster has none of the selected nodes.
  type: bool
  returned: success
profiles:
  description: As M(gpufleet.sharing.profiles) returns it in check mode.
  type: dict
  returned: success
operator:
  description: >-
    Whether the release or the config of the operator C(differs), whether the operator uses
    the profiles (C(settled)), and the C(pointer) as M(gpufleet.sharing.cluster_policy) returns it.
    The C(chart) that is installed or changed, with its versions, the keys of C(values) that change,
    and which device plugins C(restart).
  type: dict
  returned: success
mig:
  description: As M(gpufleet.sharing.mig_config) returns it in check mode.
  type: dict
  returned: success
rollout:
  description: As M(gpufleet.sharing.rollout) returns it in check mode.
  type: dict
  returned: success
sharing:
  description: As M(gpufleet.sharing.sharing_info) returns it.
  type: dict
  returned: success
summary:
  description: >-
    What would change, line by line: keys of the ConfigMap, operator, nodes, running pods that would
    be disrupted or evicted, quotas, and nodes that are left out. The last line is RV(verdict).
  type: list
  elements: str
  returned: success
verdict:
  description: Whether site would refuse the change, what is to do, or that nothing is.
  type: str
  returned: success
  sample: >-
    To do: 1 key of the ConfigMap is written; 7 nodes change in batches of 1, 2, 2, 2; 4 need
    nothing.
drift:
  description: >-
    What differs from the inventory, as C(findings) and as C(table), whose last line is C(verdict),
    and the C(count) of findings without nodes that another controller is working on.
  type: dict
  returned: with O(drift=true)
"""

from ..module_utils._common.versions import check_versions

check_versions()

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from ..module_utils._common.documents import list_at, mapping_at
from ..module_utils._common.errors import RefusedError, joined
from ..module_utils._common.module_entry import Spec, run_module, warn
from ..module_utils._common.options import OPTION_NAMES, with_names
from ..module_utils._doctor.comparison import compare, comparison
from ..module_utils._doctor.drift import Planned, drift_report
from ..module_utils._fleet.limit import beyond_limit
from ..module_utils._fleet.nodes import NODES_OPTION, ClusterNodes, read_nodes
from ..module_utils._kube.client import connect
from ..module_utils._nodes.disruption import Disruption
from ..module_utils._nodes.operands import PLUGIN_APP
from ..module_utils._profiles.config_map import check_config_map_name
from ..module_utils._profiles.keys import IN_PLACE, MODES, VERSIONED
from ..module_utils._profiles.model import Profile
from ..module_utils._profiles.plugin import read_version
from ..module_utils._profiles.rendered import render, take_profiles
from ..module_utils._profiles.validation import depends_on_plugin, parse_profiles
from ..module_utils._provider.chart import unreadable_chart
from ..module_utils._provider.cluster_policy import DevicePluginConfig, oldest_first
from ..module_utils._provider.daemonsets import app_of
from ..module_utils._provider.release import Chart, read_chart
from ..module_utils._rollout.content import ContentPlan, Wanted, plan_content
from ..module_utils._rollout.dra import dra_nodes
from ..module_utils._rollout.guard import check_disruptions
from ..module_utils._rollout.labels import wait_for_labels
from ..module_utils._rollout.mig_change import MigPlan, MigRun, configurations, plan_change
from ..module_utils._rollout.observed import Observed
from ..module_utils._rollout.operator_plan import (
    MANAGES,
    OperatorPlan,
    OperatorRequest,
    Restart,
    plan_operator,
)
from ..module_utils._rollout.platforms import claimed_nodes
from ..module_utils._rollout.request import OPTIONS, read_desired, read_settings
from ..module_utils._rollout.run import Request, RolloutRun
from ..module_utils._rollout.summary import SitePlan, summary_lines

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

try:
    import yaml
except ImportError:  # connect() reports it; kubernetes itself depends on PyYAML
    yaml = None  # type: ignore[assignment]

PROFILES: Spec = {
    "profiles": {"type": "dict", "required": True},
    "name": {"type": "str", "default": "device-plugin-config"},
    "namespace": {"type": "str", "default": "gpu-operator"},
    "create_namespace": {"type": "bool", "default": True},
    "mig_strategy": {
        "type": "str",
        "choices": ["unknown", "", "none", "single", "mixed"],
        "default": "unknown",
    },
    "plugin_version": {"type": "str", "default": ""},
    "mode": {"type": "str", "choices": list(MODES), "default": IN_PLACE},
    "default_profile": {"type": "str", "required": True},
    "prune": {"type": "bool", "default": False},
    "final": {"type": "bool", "default": True},
}
OPERATOR: Spec = {
    "manage": {"type": "str", "choices": list(MANAGES), "default": "helm"},
    "cluster_policy": {"type": "str", "default": "cluster-policy"},
    "release": {"type": "str", "default": "gpu-operator"},
    "chart_ref": {"type": "str", "default": ""},
    "chart_repo_url": {"type": "str", "default": ""},
    "chart_version": {"type": "str", "default": ""},
    "values": {"type": "dict", "default": {}},
    "values_exact": {"type": "bool", "default": False},
}
ROLLOUT: Spec = {**OPTIONS, "mig_timeout": {"type": "int", "default": 900}}
SPEC: Spec = {
    "nodes": NODES_OPTION,
    "profiles": {"type": "dict", "required": True, "options": PROFILES},
    "operator": {"type": "dict", "default": {}, "options": OPERATOR, "apply_defaults": True},
    "rollout": {"type": "dict", "default": {}, "options": ROLLOUT, "apply_defaults": True},
    "explain": {"type": "bool", "default": False},
    "drift": {"type": "bool", "default": False},
}


class Planner:
    """One plan of everything, from one look at the cluster."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._params: Mapping[str, Any] = module.params
        self._content: Mapping[str, Any] = self._params["profiles"]
        self._nodes: ClusterNodes = read_nodes(self._params["nodes"])
        check_config_map_name(self._content["name"])
        definitions = self._content["profiles"]
        if not depends_on_plugin(definitions):  # then what is wrong shows without a cluster
            take_profiles(definitions)
        cluster = connect(module)
        self._seen = Observed(cluster, self._content["namespace"], self._content["name"])
        self._profiles = self._read_profiles()
        self._seen.nodes = wait_for_labels(
            cluster, self._seen.nodes, self._nodes.gpus, self._nodes.assignments
        )

    def _read_profiles(self) -> dict[str, Profile]:
        """The profiles, checked against the plugin that the cluster has where they depend on it."""
        definitions, strategy = self._content["profiles"], self._content["mig_strategy"]
        if not depends_on_plugin(definitions):
            return take_profiles(definitions)
        told = None if strategy == "unknown" else strategy
        plugin = self._seen.plugin(told, read_version(self._content["plugin_version"]))
        return parse_profiles(definitions, plugin, partial(warn, self._module))

    def result(self) -> dict[str, object]:
        """Everything, in the order in which it would be done; raises where a part is refused."""
        self._check_platforms()
        content = self._plan_content(final=False)
        operator = self._plan_operator()
        mig = self._plan_mig()
        request = self._request(operator)
        planned = RolloutRun(self._seen.cluster, request, lambda _line: None, self._seen)
        rollout = planned.result()
        rewritten = sorted(content.keys.put.keys() & self._keys())
        if beyond := beyond_limit(
            self._nodes, rewritten, self._content["default_profile"], operator=operator.differs
        ):
            raise joined(RefusedError, beyond)
        disruptions = [*self._disrupted_by_mig(mig), *planned.disruptions]
        if not self._params["explain"]:
            check_disruptions(disruptions, self._params["rollout"]["drain"])
        rows = compare(request.desired, self._seen.nodes)
        sharing = comparison(rows, all_needed=request.needs_all)
        todo = self._todo(content, operator, mig, bool(rollout["differs"]))
        whole = SitePlan(
            content=content,
            operator=operator,
            mig=mig,
            counts=planned.counts,
            settings=planned.settings,
            table=strings_at(rollout, "table"),
            disruptions=disruptions,
            not_evicted=planned.restarted_by_operator,
            notes=strings_at(rollout, "notes"),
            uncordoned=strings_at(rollout, "uncordoned"),
            unfinished=bool(rollout["unfinished"]),
            going=self._final_content.keys.remove if todo["prune"] else (),
            new_namespace=bool(content.labels) and self._seen.namespace is None,
            problems=mapping_at(sharing, "differing"),
            nodes=len(self._nodes.assignments),
            no_nodes=self._no_nodes,
        )
        names = self._params.get(OPTION_NAMES)
        summary = [with_names(line, names) for line in summary_lines(whole)]
        found: dict[str, object] = {
            "changed": False,
            "todo": todo,
            "rendered": render(self._profiles),
            "uses_mig": bool(self._configurations()),
            "no_nodes": self._no_nodes,
            "profiles": content.result(self._seen),
            "operator": operator.result(),
            "mig": mig.result(),
            "rollout": rollout,
            "sharing": sharing,
            "summary": summary,
            "verdict": summary[-1],
        }
        if self._params["drift"]:
            found["drift"] = drift_report(
                Planned(
                    profiles=content.result(self._seen),
                    release=str(operator.release or ""),
                    pointer=operator.pointer,
                    rollout=rollout,
                    verified=sharing,
                )
            )
        return found

    def _check_platforms(self) -> None:
        """Refuse nodes whose GPUs something else hands out."""
        seen, names = self._seen, self._nodes.assignments.keys()
        problems = claimed_nodes(
            {name: seen.nodes[name] for name in names & seen.nodes.keys()},
            next(iter(oldest_first(seen.policies)), None),
            dra_nodes(seen.cluster),
            installed=bool(seen.policies) or PLUGIN_APP in map(app_of, seen.daemonsets),
        )
        if problems:
            raise joined(RefusedError, problems)

    def _todo(
        self, content: ContentPlan, operator: OperatorPlan, mig: MigPlan, rollout: bool
    ) -> dict[str, bool]:
        """Which steps have something to do. What is done before the rollout may decide about it: a
        new operator brings GPU nodes, and all changes bring restarts.
        """
        before = bool(content) or operator.differs
        changes = before or bool(mig) or rollout
        return {
            "profiles": bool(content),
            "operator": operator.differs,
            "wait": changes or not operator.settled,
            "rollout": changes,
            "prune": self._has_to_prune(content, changes=changes),
            "verify": changes or not operator.settled,
        }

    def _has_to_prune(self, content: ContentPlan, *, changes: bool) -> bool:
        if changes or not content.keys.before:
            pruning = self._content["prune"] or self._content["mode"] == VERSIONED
            return bool(pruning or content.superseded)
        keys = self._final_content.keys
        return bool(keys or keys.in_use)

    @cached_property
    def _final_content(self) -> ContentPlan:
        """What is left of the ConfigMap after the rollout."""
        return self._plan_content(final=True)

    def _plan_content(self, *, final: bool) -> ContentPlan:
        given = self._content
        wanted = Wanted(
            profiles=self._profiles,
            mode=given["mode"],
            default_profile=given["default_profile"],
            create_namespace=given["create_namespace"],
        )
        if final:
            wanted = replace(wanted, final=given["final"], prune=given["prune"])
        return plan_content(wanted, self._seen)

    def _keys(self) -> set[str]:
        return set(self._seen.config_map.data) if self._seen.config_map else set()

    def _plan_operator(self) -> OperatorPlan:
        given = self._params["operator"]
        wanted = DevicePluginConfig(self._content["name"], self._content["default_profile"])
        request = OperatorRequest(
            wanted=wanted,
            manage=given["manage"],
            cluster_policy=given["cluster_policy"],
            release=given["release"],
            values=given["values"],
            values_exact=given["values_exact"],
            chart_version=given["chart_version"],
        )
        return plan_operator(
            request,
            self._seen,
            self._read_chart,
            compare=self._params["drift"],
            no_nodes=self._no_nodes,
        )

    def _read_chart(self) -> Chart:
        """What the chart is, as Helm tells it."""
        given = self._params["operator"]
        options = {"--version": given["chart_version"], "--repo": given["chart_repo_url"]}
        more = [f"{name}={value}" for name, value in options.items() if value]
        rc, out, err = self._module.run_command(
            ["helm", "show", "chart", given["chart_ref"], *more]
        )
        if rc != 0:
            self._module.log(f"helm show chart {given['chart_ref']}: {err.strip()}")
            raise RefusedError(unreadable_chart(given["chart_ref"], given["chart_repo_url"], err))
        return read_chart(yaml.safe_load(out))

    @property
    def _no_nodes(self) -> bool:
        return not self._nodes.assignments.keys() & self._seen.nodes.keys()

    def _configurations(self) -> dict[str, str]:
        default = self._content["default_profile"]
        return configurations(self._nodes.assignments, self._profiles, default)

    def _plan_mig(self) -> MigPlan:
        wanted, given = self._configurations(), self._params["rollout"]
        if not wanted:
            return MigPlan()
        return plan_change(wanted, self._seen.nodes, given["batches"])

    def _disrupted_by_mig(self, mig: MigPlan) -> list[Disruption]:
        given = self._params["rollout"]
        timeouts = given["mig_timeout"], given["drain_timeout"]
        run = MigRun(self._seen.cluster, self._configurations(), *timeouts)
        return run.disruptions(list(mig.changes)) if mig.changes else []

    def _request(self, operator: OperatorPlan) -> Request:
        given, content = self._params["rollout"], self._content
        starts = operator.restart in (Restart.ALL, Restart.BY_HAND, Restart.NONE_RUNS)
        return Request(
            desired=read_desired(
                self._nodes, self._profiles, content["default_profile"], content["mode"]
            ),
            definitions=render(self._profiles),
            known_nodes=self._nodes.known,
            exclusive=given["exclusive"],
            needs_all=given["unavailable_nodes"] == "fail",
            settings=read_settings(given, content["namespace"], content["name"]),
            explain=self._params["explain"],
            planning=True,
            operator_restarts=starts and not self._params["drift"],
        )


def strings_at(document: object, key: str) -> list[str]:
    return [str(entry) for entry in list_at(document, key)]


def run(module: AnsibleModule) -> dict[str, object]:
    return Planner(module).result()


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
