# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of a release may be secret: helm_release returns and shows their keys only."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpufleet.sharing.plugins.action import helm_release
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.secrets import HIDDEN

CURRENT = {"driver": {"licence": "old-sesame"}, "devicePlugin": {"config": {"name": "theirs"}}}
ASKED = {"driver": {"pull": "new-sesame"}, "proxy": "http://ann:prx-sesame@proxy:3128"}
TOKEN = "tok-sesame"
SEEN = {
    "exists": True,
    "note": {},
    "failed_upgrade": False,
    "namespace_exists": True,
    "recovered": {},
    "others": [],
}
FAILED = {
    "failed": True,
    "msg": "Failure when executing Helm command. Error: UPGRADE FAILED: spec: new-sesame,"
    f" prx-sesame and old-sesame at https://bob:rep-sesame@repo ({TOKEN})",
    "command": "helm upgrade --repo=https://bob:rep-sesame@repo",
    "stdout": "new-sesame",
    "warnings": ["new-sesame"],
}


class Release(helm_release.ActionModule):
    """The action, with the answers of its modules."""

    def __init__(self, folder: Path, upgrade: dict[str, Any], *, check_mode: bool) -> None:
        kubeconfig = folder / "kubeconfig"
        users = [{"name": "a", "user": {"token": TOKEN}}]
        kubeconfig.write_text(json.dumps({"users": users}), encoding="utf-8")
        arguments = {
            "kubeconfig": str(kubeconfig),
            "chart_ref": "gpu-operator",
            "chart_repo_url": "https://bob:rep-sesame@repo",
            "values": ASKED,
            "pointer": {"name": "ours", "default": "default"},
            "option_names": {"values": "gpu_operator_values"},
        }
        self.asked: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._task = SimpleNamespace(args=arguments, check_mode=check_mode, async_val=0, diff=True)
        self._display = SimpleNamespace(v=lambda text, _host: self.said.append(text))
        self._answers = {
            "kubernetes.core.helm_info": {"status": {"values": CURRENT}},
            "kubernetes.core.helm": upgrade,
            helm_release.MODULE: SEEN,
        }

    def _execute_module(self, name: str, *, module_args: Any, **_more: Any) -> dict[str, Any]:
        self.asked.append({"module": name, **module_args})
        return dict(self._answers[name])


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
    return lambda upgrade: Release(tmp_path, upgrade, check_mode=True)


def test_result_has_keys(release: Any) -> None:
    found = (action := release({"changed": True})).run(None, {})
    assert found["changed_values"] == [
        "devicePlugin.config.default",
        "devicePlugin.config.name",
        "driver.pull",
        "proxy",
    ]
    assert found["diff"]["before"] == {"devicePlugin.config.name": "theirs"}
    assert found["diff"]["after"].keys() == set(found["changed_values"])
    assert found["diff"]["after"]["devicePlugin.config.name"] == "ours"
    assert "sesame" not in json.dumps([found, action.said])


def test_failure_names_keys(release: Any) -> None:
    found = (action := release(FAILED)).run(None, {})
    for key in ("<driver.pull>", "<driver.licence>", "<proxy>", HIDDEN):
        assert key in found["msg"]
    assert "sesame" not in json.dumps([found, action.said])
    assert "UPGRADE FAILED" in "\n".join(action.said)


def test_events_do_not_get_the_arguments(release: Any) -> None:
    """Ansible hands a task's arguments on with its result. A task with retries runs again."""
    action = release({"changed": True})
    action.run(None, {})
    action.run(None, {})
    assert "sesame" not in json.dumps(action._task.args)
    upgrades = [each for each in action.asked if each["module"] == "kubernetes.core.helm"]
    assert [each["release_values"]["driver"]["pull"] for each in upgrades] == ["new-sesame"] * 2
    assert all("values" not in each for each in action.asked)


def test_values_that_cannot_be_read_are_not_shown(release: Any) -> None:
    action = release({"changed": True})
    action._task.args["values"] = "driver: new-sesame"
    with pytest.raises(AnsibleActionFail) as refused:
        action.run(None, {})
    assert "gpu_operator_values" in str(refused.value)
    assert "sesame" not in str(refused.value)
