# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fails on a kubelet that has lost the plugin is skipped, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from ansible_collections.gpufleet.sharing.tests.realnode import conftest
from ansible_collections.gpufleet.sharing.tests.realnode.realtools import ALREADY, Node


@pytest.mark.parametrize(
    ("outcome", "log", "must", "judged"),
    [
        ("failed", f'err="{ALREADY}: /nvidia-gpu.sock"', "", "skipped"),
        ("failed", f'err="{ALREADY}: /nvidia-gpu.sock"', "must", "failed"),
        ("failed", "all is well", "", "failed"),
        ("passed", f'err="{ALREADY}: /nvidia-gpu.sock"', "", "passed"),
    ],
)
def test_lost_plugin(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outcome: Literal["passed", "failed", "skipped"],
    log: str,
    must: str,
    judged: str,
) -> None:
    monkeypatch.setenv("REALNODE", must)
    (tmp_path / "kubelet.log").write_text(log, encoding="utf-8")
    node = Node.__new__(Node)  # one that is not booted
    node.environ = {"GPULAB_STATE": str(tmp_path)}
    item: Any = SimpleNamespace(funcargs={"node": node}, path=tmp_path)
    report = pytest.TestReport("a test", ("", 0, ""), {}, outcome, None, "call")
    hook = conftest.pytest_runtest_makereport(item)
    next(hook)
    with pytest.raises(StopIteration) as ended:
        hook.send(report)
    assert ended.value.value.outcome == judged
