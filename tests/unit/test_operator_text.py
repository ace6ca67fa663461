# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to the operator: chart and versions, keys, config, and which plugins restart."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.cluster_policy import (
    DevicePluginConfig,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.release import (
    Chart,
    ReleaseChange,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.operator_plan import (
    OperatorPlan,
    OperatorRequest,
    Restart,
    restart_of,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.operator_text import (
    operator_lines,
    operator_phrase,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

OURS = DevicePluginConfig("device-plugin-config", "default")
THEIRS = DevicePluginConfig("team-cm", "any")
OLD, NEW = Chart("gpu-operator", "v26.3.0"), Chart("gpu-operator", "v26.7.0")
UPGRADE = ReleaseChange(OLD, NEW, ("driver.version",))
VALUES = ReleaseChange(NEW, NEW, ("dcgm.enabled", "driver.version"))
INSTALL = ReleaseChange(None, NEW)
RETRY = ReleaseChange(NEW, NEW, retry=True)


def plan(
    release: ReleaseChange | None = None,
    config: DevicePluginConfig = OURS,
    restart: Restart = Restart.ALL,
    *,
    settled: bool = True,
    chart_version: str = "",
) -> OperatorPlan:
    request = OperatorRequest(OURS, chart_version=chart_version)
    pointer = {"differs": release is None and config != OURS}
    return OperatorPlan(request, release, settled, pointer, config, 11, restart)


def text(found: OperatorPlan) -> str:
    return "\n".join(operator_lines(found, "gpus"))


def test_operator_that_stays_is_not_mentioned() -> None:
    assert (operator_lines(plan(), "gpus"), operator_phrase(plan())) == ([], "")


def test_operator_that_is_waited_for() -> None:
    assert len(operator_lines(plan(settled=False), "gpus")) == 1
    assert operator_phrase(plan(settled=False)) == ""


def test_upgrade_names_versions_keys_and_restarts() -> None:
    said = text(plan(UPGRADE))
    assert mentions(said, "upgrade", "v26.3.0 -> v26.7.0", "release gpu-operator", "gpus")
    assert mentions(said, "driver.version", "O(chart_version)")
    assert numbers(said.splitlines()[-1]) == [11]
    assert "config:" not in said
    assert "O(chart_version)" not in text(plan(UPGRADE, chart_version="v26.7.0"))


def test_installation() -> None:
    found = plan(INSTALL, DevicePluginConfig(), Restart.NONE_RUNS)
    assert mentions(text(found), "install", "gpu-operator v26.7.0", "none -> device-plugin-config")
    assert "11" not in text(found)


def test_change_of_values_names_no_chart() -> None:
    assert mentions(text(plan(VALUES)), "release gpu-operator", "dcgm.enabled, driver.version")
    assert "v26" not in text(plan(VALUES))


def test_existing_operator_gets_another_config() -> None:
    said = text(plan(config=THEIRS))
    assert mentions(
        said, "ClusterPolicy cluster-policy", "team-cm (any) -> device-plugin-config (d"
    )
    assert "Helm" not in said


def test_restarts_are_distinguished() -> None:
    lines = {restart: text(plan(UPGRADE, restart=restart)).splitlines()[-1] for restart in Restart}
    assert len(set(lines.values())) == len(Restart)
    assert mentions(lines[Restart.BY_HAND], "OnDelete")


def test_phrases_are_distinguished() -> None:
    plans = (plan(INSTALL), plan(UPGRADE), plan(VALUES), plan(RETRY), plan(config=THEIRS))
    assert len({operator_phrase(each) for each in plans}) == 5
    assert mentions(text(plan(RETRY)), "repeat", "failed", "release gpu-operator")


@pytest.mark.parametrize(
    ("keys", "restart"),
    [
        (("devicePlugin.args",), Restart.ALL),
        (("mig.strategy", "dcgm.enabled"), Restart.ALL),
        (("devicePlugin.config.name",), Restart.NONE),  # compared in the ClusterPolicy
        (("dcgmExporter.env", "gfd.args"), Restart.NONE),
        (("toolkit.enabled",), Restart.UNKNOWN),
    ],
)
def test_values_that_restart_plugins(keys: tuple[str, ...], restart: Restart) -> None:
    assert restart_of(ReleaseChange(NEW, NEW, keys)) is restart


def test_chart_that_restarts_plugins() -> None:
    assert restart_of(ReleaseChange(OLD, NEW)) is Restart.ALL
    assert restart_of(RETRY) is Restart.UNKNOWN
    assert restart_of(None) is Restart.NONE
