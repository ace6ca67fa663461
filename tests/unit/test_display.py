# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What actions display: from the main thread of Ansible's fork, and nothing else of the fork."""

from __future__ import annotations

import ast
import multiprocessing
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.utils.display import Display

from ansible_collections.gpufleet.sharing.plugins.action import rollout
from ansible_collections.gpufleet.sharing.plugins.plugin_utils import _display

PACKAGE = "ansible_collections.gpufleet.sharing.plugins"
PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
ON_CONTROLLER = [*(PLUGINS / "action").glob("*.py"), *(PLUGINS / "plugin_utils").rglob("*.py")]


def imports(file: Path) -> set[str]:
    """The packages that a file imports."""
    found: set[str] = set()
    for statement in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            found.add(str(statement.module).partition(".")[0])
    return found


@pytest.mark.parametrize("file", ON_CONTROLLER, ids=lambda file: file.stem)
def test_actions_start_no_thread(file: Path) -> None:
    """A thread of a fork that displays waits forever for a lock of the fork's main thread."""
    assert not imports(file) & {"threading", "concurrent", "asyncio"}


def displayed_as_by_ansible_runner(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a Display gets whose callback marks events on stdout, as that of ansible-runner."""
    seen: list[str] = []

    def display(_self: Display, text: str) -> None:
        print("mark", end="")
        seen.append(text)

    monkeypatch.setattr(Display, "display", display)
    return seen


def test_fork_writes_nothing_to_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = displayed_as_by_ansible_runner(monkeypatch)
    monkeypatch.setattr(_display, "parent_process", multiprocessing.current_process)
    _display.show("batch 1 of 2")
    assert (seen, capsys.readouterr().out) == (["batch 1 of 2"], "")


def test_main_process_displays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = displayed_as_by_ansible_runner(monkeypatch)
    before = sys.stdout
    _display.show("batch 1 of 2")
    assert (seen, capsys.readouterr().out) == (["batch 1 of 2"], "mark")
    assert sys.stdout is before


def action(
    monkeypatch: pytest.MonkeyPatch, transport: str, become: object, environment: list[object]
) -> tuple[dict[str, Any], list[str]]:
    """The result of the action rollout by a fake connection, and the lines that it displays."""
    seen: list[str] = []
    monkeypatch.setattr(rollout, "show", seen.append)

    def work(_module: object, report: Any) -> dict[str, object]:
        report("batch 1 of 2")
        return {"changed": True}

    monkeypatch.setattr(f"{PACKAGE}.modules.rollout.run", work)
    nodes = {"nodes": [], "profiles": {}, "default_profile": "default"}
    task = SimpleNamespace(
        args=nodes, environment=environment, check_mode=False, async_val=0, no_log=False
    )
    made = object.__new__(rollout.ActionModule)
    made._task = task
    made._connection = SimpleNamespace(transport=transport, become=become)
    made._loader = SimpleNamespace(get_basedir=lambda: ".")
    made._execute_module = lambda _name, **_given: {"changed": False, "invocation": {}}
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_arguments: {})
    return made.run(None, {"inventory_hostname": "prod-eu"}), seen


def test_rollout_shows_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    result, seen = action(monkeypatch, "local", None, [{}])
    assert (result, seen) == ({"changed": True}, ["prod-eu: batch 1 of 2"])


@pytest.mark.parametrize(
    ("transport", "become", "environment"),
    [
        ("ssh", None, []),
        ("local", SimpleNamespace(name="sudo"), []),
        ("local", None, [{}, {"HTTPS_PROXY": "http://proxy:3128"}]),
        ("local", None, ["{{ proxy_environment }}"]),
    ],
)
def test_rollout_elsewhere_is_a_module(
    monkeypatch: pytest.MonkeyPatch, transport: str, become: object, environment: list[object]
) -> None:
    """Another host, user or environment needs a process of its own, which cannot display."""
    result, seen = action(monkeypatch, transport, become, environment)
    assert (result, seen) == ({"changed": False}, [])
