# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the filters run, and give what their documentation says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = sorted((ROOT / "plugins" / "filter").glob("*.yml"))


def examples(path: Path) -> str:
    return str(yaml.safe_load(path.read_text(encoding="utf-8"))["EXAMPLES"])


def expected(text: str) -> list[object]:
    """What the comments behind the tasks promise, in the order of the tasks."""
    blocks: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("# ok: [localhost] =>"):
            blocks.append([])
            inside = True
        elif inside and bare.startswith("#"):
            blocks[-1].append(bare.removeprefix("#"))
        else:
            inside = False
    return [yaml.safe_load(dedent("\n".join(block)) + "\n")["msg"] for block in blocks]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, object]:
    """What all tasks of all examples say, by their names, in one run of Ansible."""
    tasks: list[dict[str, Any]] = []
    for path in DOCUMENTED:
        found = yaml.safe_load(examples(path))
        tasks += [task | {"name": f"{path.stem} {n}"} for n, task in enumerate(found)]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    playbook = tmp_path_factory.mktemp("examples") / "examples.yml"
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    environ = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build" / "collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
    }
    tool = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [tool, playbook], env=environ, check=False, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran = json.loads(done.stdout)["plays"][0]["tasks"]
    return {task["task"]["name"]: task["hosts"]["localhost"].get("msg") for task in ran}


@pytest.mark.parametrize("path", DOCUMENTED, ids=lambda path: path.stem)
def test_examples_give_what_they_promise(path: Path, answers: Mapping[str, object]) -> None:
    promised = expected(examples(path))
    given = [value for name, value in answers.items() if name.rpartition(" ")[0] == path.stem]
    assert given
    # What fleet gives depends on the inventory; that it runs has been seen.
    assert given == promised or (path.stem == "fleet" and not promised)
