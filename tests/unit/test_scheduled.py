# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/scheduled.md says works: its units are valid, and its job says what happened."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.tests.unit.ansible_runs import ROOT, group, write_hosts
from ansible_collections.gpufleet.sharing.tests.unit.scheduled_page import (
    SCRIPT,
    Machine,
    exit_codes,
    settings,
    units,
)

STUB = """#!/bin/sh
env | sort > {seen}
echo "$@" >> {seen}
echo "{text}"
exit {code}
"""
CLEAN = "localhost : ok=9 changed=0 unreachable=0 failed=0"
CHANGED = "localhost : ok=9 changed=12 unreachable=0 failed=0"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def stub(machine: Machine, text: str, code: int = 0) -> Path:
    """An ansible-playbook that prints a text and exits; its variables and arguments are there."""
    seen = machine.root / "seen"
    machine.add("bin/ansible-playbook", STUB.format(seen=seen, text=text, code=code))
    return seen


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_units_are_valid(machine: Machine) -> None:
    files = []
    for name, text in units().items():
        file = machine.root / name.replace("@.", "@drift.")
        file.write_text(machine.here(text), encoding="utf-8")
        files.append(file)
    command = ["systemd-analyze", "verify", "--man=no", *map(str, files)]
    done = subprocess.run(command, check=False, text=True, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_units_fit_each_other() -> None:
    found = {name: settings(text) for name, text in units().items()}
    service, timer = found["gpu-sharing@.service"], found["gpu-sharing-drift.timer"]
    assert service["Service.Type"] == ["oneshot"]
    assert service["Service.ExecStart"] == [f"{SCRIPT} %i"]
    assert timer["Timer.Unit"] == ["gpu-sharing@drift.service"]
    assert timer["Install.WantedBy"] == ["timers.target"]
    assert len(timer["Timer.OnCalendar"]) == 1


def test_cron_and_systemd_set_the_same_variables(machine: Machine) -> None:
    service = settings(machine.here(units()["gpu-sharing@.service"]))
    given = dict(entry.split("=", 1) for entry in service["Service.Environment"])
    cron = dict(machine.crontab.variables)
    assert cron.pop("SHELL") == "/bin/sh"
    assert given.pop("GPU_SHARING_MAILTO") == cron.pop("MAILTO")
    assert given == cron
    assert given["ANSIBLE_DISPLAY_OK_HOSTS"] == given["ANSIBLE_DISPLAY_SKIPPED_HOSTS"] == "false"
    assert service["Service.LogsDirectory"] == ["gpu-sharing"]


def test_jobs_of_the_crontab(machine: Machine) -> None:
    jobs = machine.crontab.jobs
    assert len(jobs) == 2
    for job in jobs:
        assert all(re.fullmatch(r"\d{1,2}|\*", part) for part in job.schedule)
        script, playbook = job.command.split()
        assert script == Path(SCRIPT).name
        assert (ROOT / "playbooks" / f"{playbook}.yml").is_file()
        assert playbook in exit_codes()
        assert "%" not in job.command  # a line break to cron


@pytest.mark.parametrize(
    ("text", "code", "printed"),
    [(CLEAN, 0, False), (CHANGED, 0, True), (CLEAN, 2, True), ("ERROR! no playbook", 1, True)],
)
def test_job_prints_only_changes_and_failures(
    machine: Machine, text: str, code: int, printed: bool
) -> None:
    seen = stub(machine, text, code)
    done = machine.run()
    assert (done.returncode, done.stdout) == (code, f"{text}\n" if printed else "")
    lines = seen.read_text().splitlines()
    assert lines[-1] == f"gpufleet.sharing.drift -i {machine.inventory}"
    expected = {
        f"{name}={value}" for name, value in machine.crontab.variables.items() if name != "PATH"
    }
    assert expected <= set(lines)
    assert f"KUBECONFIG={machine.root / 'etc' / 'kubeconfig'}" in lines


@pytest.mark.parametrize(("code", "mails"), [(0, 0), (2, 1)])
def test_systemd_mails_what_is_printed(machine: Machine, code: int, mails: int) -> None:
    stub(machine, CLEAN, code)
    sent = machine.root / "sent"
    machine.add("bin/mail", f'#!/bin/sh\necho "$@" > {sent}\ncat >> {sent}\n')
    machine.more["GPU_SHARING_MAILTO"] = "team@example.com"
    assert machine.run().returncode == code
    assert sent.exists() == bool(mails)
    if mails:
        head, *body = sent.read_text().splitlines()
        assert re.findall(r"drift|\b2\b|team@example.com", head) == [
            "drift",
            "2",
            "team@example.com",
        ]
        assert body == [CLEAN]


def test_one_run_at_a_time(machine: Machine) -> None:
    """The lock is held as another run holds it."""
    seen = stub(machine, CLEAN)
    script = machine.root / "local" / "gpu-sharing-run"
    machine.add("local/gpu-sharing-run", re.sub(r"--wait \d+", "--wait 0", script.read_text()))
    held = os.open(machine.inventory, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    done = machine.run()
    assert done.returncode == 75
    assert re.match(r"drift\b.+\n$", done.stdout)
    assert not seen.exists()
    os.close(held)
    assert machine.run().returncode == 0
    assert seen.exists()


def test_exit_codes_of_ansible(machine: Machine) -> None:
    """With cron's variables alone, Ansible runs; validate needs no cluster."""
    machine.add_ansible()
    log = machine.root / "log" / "ansible.log"
    write_hosts(machine.inventory, {"dev_gpus": group("gpu-1", gpu_sharing_profile="dev")})
    done = machine.run("validate")
    assert (done.returncode, done.stdout) == (0, "")
    assert "PLAY RECAP" in log.read_text()
    write_hosts(machine.inventory, {"dev_gpus": group("gpu-1", gpu_sharing_profile="devv")})
    done = machine.run("validate")
    assert done.returncode == 2
    assert "devv" in done.stdout
    assert machine.run("no-such-playbook").returncode == 1
