# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people see: the screens of docs/output.md are those of real runs, with Ansible's default
callback, and as short as promised. Each test goes on where the one before has stopped.

    UPDATE=1 pytest tests/integration/test_output.py    # rewrites the page
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.fleettools import REFUSE
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    GROUPS,
    PLAYBOOK,
    PROFILES,
    ROOT,
    Lab,
    boot,
    shut_down,
    write_inventory,
)

PAGE = ROOT / "docs" / "output.md"
CALLBACKS = ("ANSIBLE_CALLBACK_PLUGINS", "ANSIBLE_CALLBACKS_ENABLED")  # of the tests
CRASHED = "not ready (CrashLoopBackOff, crashed 3 times: see its log)"
FEWER = {**PROFILES, "dev": {"replicas": 2}}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    booted = boot(f"output-{os.getpid()}")
    yield booted
    shut_down(booted)


def inventory(folder: Path, profiles: dict[str, Any]) -> Path:
    """With what a user of the lab would set, so that no option has to be given."""
    variables = {
        "gpu_sharing_profiles": profiles,
        "gpu_sharing_rollout_stable_seconds": 1,
        "gpu_operator_chart_ref": "{{ lookup('env', 'GPULAB_CHART') }}",
    }
    return write_inventory(folder, GROUPS, variables)


def screen(lab: Lab, name: str, folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """The exit code of a playbook, and what it shows, without what differs between two runs."""
    environ = lab.ansible_environ(dict.fromkeys(CALLBACKS))
    done = subprocess.run(
        [PLAYBOOK, f"gpufleet.sharing.{name}", "-i", str(folder), *arguments],
        check=False,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    text = done.stdout
    for found, shown in (
        (lab.environ["KUBECONFIG"], "/home/me/.kube/config"),
        (str(ROOT / ".build" / "collections"), "/home/me/.ansible/collections"),
        (str(ROOT), "/home/me/.ansible/collections/ansible_collections/gpufleet/sharing"),
    ):
        text = text.replace(found, shown)
    text = re.sub(r"https://127\.0\.0\.1:\d+", "https://10.0.0.1:6443", text)
    text = re.sub(r"about [^,]+ left", "about 20 s left", text)
    text = re.sub(r"(notebook-\w+)-[a-z0-9]{5}\b", r"\1-xxxxx", text)  # names of pods
    return done.returncode, text.splitlines()


def shown(title: str, lines: list[str]) -> None:
    """The page has this screen, or gets it with UPDATE=1."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- screen: {title} -->\n", "<!-- end -->"
    assert begin in page, f"docs/output.md has no screen '{title}'"
    before, _mark, rest = page.partition(begin)
    now, _mark, after = rest.partition(end)
    new = "\n".join(["```text", *(line.rstrip() for line in lines), "```", ""])
    if os.environ.get("UPDATE"):
        PAGE.write_text(before + begin + new + end + after, encoding="utf-8")
    else:
        assert now == new


@pytest.mark.parametrize(
    ("title", "profiles", "expected", "most"),
    [
        ("plan", PROFILES, 0, None),
        ("site", PROFILES, 0, 90),
        ("site again", PROFILES, 0, 34),  # 11 nodes are 6 lines more: 40 at most
        ("drift", PROFILES, 0, 15),
        ("verify", PROFILES, 0, 52),
        ("doctor", PROFILES, 0, 26),
        ("drift found", FEWER, 2, 45),
    ],
)
def test_screen(
    lab: Lab,
    tmp_path: Path,
    title: str,
    profiles: dict[str, Any],
    expected: int,
    most: int | None,
) -> None:
    """The first word of a title is the playbook."""
    code, lines = screen(lab, title.split(maxsplit=1)[0], inventory(tmp_path, profiles))
    assert code == expected
    assert most is None or len(lines) <= most
    shown(title, lines)


def test_site_that_fails(lab: Lab, tmp_path: Path) -> None:
    """The device plugin of one node does not start with the new content."""
    lab.kubectl("annotate", "node", "dev-gpu-01", f"{REFUSE}=6")
    try:
        folder = inventory(tmp_path, {**PROFILES, "dev": {"replicas": 6}})
        options = ("-e", "gpu_sharing_rollout_timeout=10")
        code, lines = screen(lab, "site", folder, *options)
    finally:
        lab.kubectl("annotate", "node", "dev-gpu-01", f"{REFUSE}-")
    assert code == 2
    assert len(lines) <= 70
    shown("site failed", [plainly(line) for line in lines])


def plainly(line: str) -> str:
    """A line about a pod that has failed, without what its last moments decide."""
    line = re.sub(r"(daemonset)-\w{5} is not ready \([^)]*\)", rf"\1-xxxxx is {CRASHED}", line)
    line = re.sub(r"-{60,}", "-" * 102, line)
    return re.sub(
        r"back to the previous profiles in \d+ s", "back to the previous profiles in 2 s", line
    )


def test_site_that_is_refused(lab: Lab, tmp_path: Path) -> None:
    use_slots(lab, tmp_path, 3)
    folder = inventory(tmp_path / "inventory", FEWER)
    code, lines = screen(lab, "site", folder)
    assert code == 2
    shown("site refused", lines)
    assert len(lines) <= 25
    assert screen(lab, "plan", folder)[0] == 0


def use_slots(lab: Lab, folder: Path, pods: int) -> None:
    container = {"name": "main", "image": "cuda", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    template = {
        "metadata": {"labels": {"app": "notebook"}},
        "spec": {"nodeName": "dev-gpu-01", "containers": [container]},
    }
    selector = {"matchLabels": {"app": "notebook"}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "notebook", "namespace": "team-a"},
        "spec": {"replicas": pods, "selector": selector, "template": template},
    }
    file = folder / "deployment.json"
    file.write_text(json.dumps(deployment), encoding="utf-8")
    lab.kubectl("create", "namespace", "team-a")
    lab.kubectl("apply", "-f", str(file))
    lab.kubectl("rollout", "status", "-n", "team-a", "deployment/notebook", "--timeout=60s")


def test_doctor_with_findings(lab: Lab, tmp_path: Path) -> None:
    label = "nvidia.com/device-plugin.config"
    lab.kubectl("label", "node", "prod-gpu-01", f"{label}=gone")
    try:
        code, lines = screen(lab, "doctor", inventory(tmp_path, PROFILES))
    finally:
        lab.kubectl("label", "node", "prod-gpu-01", f"{label}-")
    assert code == 2
    shown("doctor found", lines)


def test_uninstall(lab: Lab, tmp_path: Path) -> None:
    """Refused for running pods, then done without them."""
    folder = inventory(tmp_path, PROFILES)
    code, lines = screen(lab, "uninstall", folder)
    assert code == 2
    assert len(lines) <= 25
    shown("uninstall refused", lines)
    lab.kubectl("delete", "namespace", "team-a", "--wait")
    code, lines = screen(lab, "uninstall", folder)
    assert code == 0
    assert len(lines) <= 76
    shown("uninstall", lines)


def test_wrong_inventory(lab: Lab, tmp_path: Path) -> None:
    folder = write_inventory(tmp_path, {"dev_gpus": {"hosts": {"Dev_GPU": {}}}})
    code, lines = screen(lab, "site", folder)
    assert code == 2
    assert len(lines) <= 25
    shown("wrong inventory", lines)
