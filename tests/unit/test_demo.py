# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo takes from the output of playbooks, and how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.gpufleet.sharing.tests.demo import demo
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

NODES = ["node   physical  expected  actual", "-----  --------  --------  ------", "a  1  8  8"]
PROBED = ["node   free  ran at once", "----  ----  -----------", "a  8  8"]
DOWN = "tests/lab/lab down --name demo"


def output(*shown: object) -> str:
    results = (f"ok: [localhost] => {json.dumps({'msg': msg}, indent=4)}" for msg in shown)
    return "\n\n".join(f"TASK [Show]\n{result}" for result in results)


def test_tables_of_nodes_are_found_by_their_columns() -> None:
    found = output(
        "localhost: a line", ["localhost: another", *NODES], ["group  slots", "x  1"], PROBED, []
    )
    assert list(demo.tables(found)) == [NODES, PROBED]
    assert demo.table_with(found, demo.PROBED).splitlines() == PROBED
    with pytest.raises(demo.DemoError):
        demo.table_with(output(NODES), demo.PROBED)


class Stages(demo.Demo):
    """A demo whose labs and playbooks only note what is asked of them."""

    def __init__(self) -> None:
        super().__init__({"GPULAB_CHART": "chart"})
        self.asked: list[tuple[str, ...]] = []

    def lab(self, *arguments: str) -> None:
        self.asked.append(arguments)

    def enter_lab(self) -> None:
        self.asked.append(("env",))

    def playbook(self, name: str, log: str, *more: str) -> str:
        assert log
        self.asked.append((name, *more))
        return output(NODES, PROBED) if name == "verify" else output(NODES)


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stages:
    found = Stages()
    monkeypatch.setattr(demo, "Demo", lambda _environ: found)
    monkeypatch.setattr(demo, "LOGS", tmp_path)
    return found


def at_terminal(monkeypatch: pytest.MonkeyPatch, answer: str | None) -> None:
    """With somebody who answers; None for a pipe."""

    def ask(_prompt: str) -> str:
        assert answer is not None, "asked, although nobody can answer"
        return answer

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: answer is not None))
    monkeypatch.setattr("builtins.input", ask)


def test_demo_probes_says_that_times_are_shortened_and_never_asks_a_pipe(
    stages: Stages, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_terminal(monkeypatch, None)
    demo.run()
    assert ("verify",) in stages.asked  # with the probe
    printed = capsys.readouterr().out
    assert printed.index("gpu_sharing_rollout_stable_seconds") < printed.index("Apply the recipe")
    assert all(line in printed for line in PROBED)
    assert printed.count(DOWN) == 1
    assert stages.asked[-1][0] == "site"


@pytest.mark.parametrize(("answer", "taken"), [("y", True), (" Yes ", True), ("", False)])
def test_lab_is_taken_down_on_request(
    *,
    answer: str,
    taken: bool,
    stages: Stages,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_terminal(monkeypatch, answer)
    demo.take_down(stages)
    assert stages.asked == ([("down", "--name", "demo")] if taken else [])
    assert (DOWN in capsys.readouterr().out) is not taken


def test_failure_shows_how_to_take_the_lab_down(
    stages: Stages, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stages, "playbook", lambda *_arguments: output(NODES))
    at_terminal(monkeypatch, None)
    assert demo.main() == 1  # verify has shown no probe
    assert mentions(capsys.readouterr().err, demo.PROBED, DOWN)
