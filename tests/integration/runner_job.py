# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks run as AWX runs jobs: `ansible-runner transmit | worker | process` with the private
data directory of its RunJob (awx/main/tasks/jobs.py): a project, an executable inventory, extra
variables as !unsafe, its environment, and files of credentials that environment variables name.

Process isolation is off: the execution environment is a folder of programs in PATH.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from ansible_collections.gpufleet.sharing.tests.integration.labtools import COLLECTIONS, Lab

IDENT = "112"  # of the job
OVERDUE = 600.0  # seconds; a job that takes longer hangs, also on a busy machine
SOON = {
    "gpu_sharing_rollout_stable_seconds": 1,
    "gpu_sharing_rollout_timeout": 60,
    "gpu_operator_timeout": 180,
}
ENVIRONMENT = {  # of every job: AWX's settings named ANSIBLE_*, and RunJob.build_env
    "ANSIBLE_FORCE_COLOR": "True",
    "ANSIBLE_HOST_KEY_CHECKING": "False",
    "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
    "ANSIBLE_PARAMIKO_RECORD_HOST_KEYS": "False",
    "ANSIBLE_RETRY_FILES_ENABLED": "False",
    "AWX_HOST": "https://awx.example.com",
    "INVENTORY_ID": "2",
    "JOB_ID": IDENT,
    "MAX_EVENT_RES": "700000",
    "PROJECT_REVISION": "0" * 40,
}
META = {  # Job.awx_meta_vars; AWX gives each with the prefix tower_, too
    "job_id": int(IDENT),
    "job_launch_type": "manual",
    "job_template_id": 9,
    "job_template_name": "GPU sharing",
    "inventory_id": 2,
    "inventory_name": "GPU fleet",
    "project_revision": "0" * 40,
    "project_scm_branch": "",
    "execution_node": "execution-1",
}
BY_USER = {
    "user_id": 3,
    "user_name": "jane",
    "user_email": "jane@example.com",
    "user_first_name": "",
    "user_last_name": "",
}
BY_SCHEDULE = {"schedule_id": 5, "schedule_name": "drift nightly", "job_launch_type": "scheduled"}


@dataclass(frozen=True)
class Node:
    """An execution node, by its ansible-runner, with an execution environment, by its Ansible."""

    runner: Path
    core: Path


@dataclass(frozen=True)
class Done:
    """What AWX has of a job that has ended."""

    status: str
    rc: int
    events: Sequence[Mapping[str, Any]]
    errors: str  # of ansible-runner

    @cached_property
    def stdout(self) -> str:
        """The output that AWX shows."""
        return "\n".join(event["stdout"] for event in self.events if event["stdout"])

    @property
    def artifacts(self) -> dict[str, Any]:
        """What the job passes on to the next one of a workflow."""
        (last,) = (event for event in self.events if event["event"] == "playbook_on_stats")
        return dict(last["event_data"].get("artifact_data") or {})

    @property
    def failures(self) -> list[str]:
        """The messages of tasks that have failed."""
        failed = (event for event in self.events if event["event"] == "runner_on_failed")
        return [str(event["event_data"]["res"].get("msg")) for event in failed]

    def ended(self, status: str) -> Done:
        assert self.status == status, f"{self.status}\n{self.errors}\n{self.stdout}"
        return self


@dataclass
class Job:
    """A job that is not started yet. env: what its credentials inject; check, limit and the others
    are fields of the job template.
    """

    lab: Lab
    folder: Path
    node: Node
    playbook: str
    inventory: Mapping[str, Any]  # as write_inventory writes it: the group all
    variables: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=lambda: BY_USER)
    check: bool = False
    limit: str = ""
    verbosity: int = 0
    timeout: int = 0

    @property
    def _private(self) -> Path:
        """The private data directory on the control node."""
        return self.folder / f"awx_{IDENT}_data"

    @property
    def worker(self) -> Path:
        """That of the execution node: /runner in a container."""
        return self.folder / "runner"

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        """Write a file of the private data directory. Returns its path on the execution node."""
        path = self._private / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=mode)
        path.write_text(text, encoding="utf-8")
        return self.worker / name

    def run(self, cancel: Callable[[], bool] | None = None, overdue: float = OVERDUE) -> Done:
        """Run the job; cancel it as soon as that says so. A job that takes too long is ended, and
        fails the test.
        """
        self._fill()
        transmit: list[str | Path] = [
            self._runner,
            "transmit",
            self._private,
            "-p",
            "job.yml",
            "-i",
            IDENT,
        ]
        sent = subprocess.run(
            [*transmit, "--inventory", self._private / "inventory" / "hosts"],
            env=self._environ,
            check=True,
            capture_output=True,
        )
        streamed, output = self._work(sent.stdout, cancel, overdue)
        process = subprocess.run(
            [self._runner, "process", self._private, "-i", IDENT],
            input=streamed,
            env=self._environ,
            check=True,
            capture_output=True,
        )
        found = self._private / "artifacts" / IDENT
        files = found.glob("job_events/[0-9]*-*.json")
        events = [json.loads(file.read_bytes()) for file in files if "partial" not in file.name]
        return Done(
            status=_status(streamed),
            rc=int((found / "rc").read_text() or 0) if (found / "rc").exists() else -1,
            events=sorted(events, key=lambda event: int(event["counter"])),
            errors=output + process.stderr.decode(),
        )

    def _work(
        self, sent: bytes, cancel: Callable[[], bool] | None, overdue: float
    ) -> tuple[bytes, str]:
        """What the execution node streams back, and what it prints."""
        with (
            (self.folder / "streamed").open("w+b") as streamed,
            (self.folder / "errors").open("w+b") as errors,
            (self.folder / "sent").open("w+b") as given,
        ):
            given.write(sent)
            given.seek(0)
            process = subprocess.Popen(
                [self._runner, "worker", "--private-data-dir", self.worker],
                stdin=given,
                stdout=streamed,
                stderr=errors,
                env=self._environ,
            )
            try:
                self._wait(process, cancel, overdue)
            finally:
                for pid, _line in self.processes() if process.poll() is None else ():
                    os.kill(pid, signal.SIGKILL)
                process.kill()
                process.wait()
            return _all(streamed), _all(errors).decode()

    def _wait(
        self, process: subprocess.Popen[bytes], cancel: Callable[[], bool] | None, overdue: float
    ) -> None:
        deadline = time.monotonic() + overdue
        while process.poll() is None:
            if time.monotonic() > deadline:
                shown = "\n".join(line for _pid, line in self.processes())
                raise AssertionError(f"the job hangs after {overdue:.0f} s:\n{shown}")
            if cancel and cancel():
                process.terminate()  # as receptor does
                cancel = None
            time.sleep(0.1)

    def processes(self) -> list[tuple[int, str]]:
        """The processes of the job with their command lines, whatever their session."""
        mark = f"AWX_PRIVATE_DATA_DIR={self._private}\0".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes():
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    found.append((int(folder.name), b" ".join(words).decode()))
            except OSError:  # it has ended
                continue
        return found

    @property
    def _runner(self) -> Path:
        return self.node.runner / "ansible-runner"

    @property
    def _environ(self) -> dict[str, str]:
        """The environment of ansible-runner: the execution environment and nothing of the lab."""
        helm = shutil.which("helm", path=self.lab.environ["PATH"])
        assert helm
        paths = (str(self.node.core), str(Path(helm).parent), os.defpath)
        return {"PATH": ":".join(paths), "HOME": str(self.folder), "LANG": "C.UTF-8"}

    def _fill(self) -> None:
        """Write the private data directory, as BaseTask.run does."""
        (self._private / "project").mkdir(parents=True)
        imported = [{"ansible.builtin.import_playbook": f"gpufleet.sharing.{self.playbook}"}]
        (self._private / "project" / "job.yml").write_text(yaml.safe_dump(imported))
        inventory = json.dumps(script_data(self.inventory))
        self.write("inventory/hosts", f"#! /usr/bin/env python3\nprint({inventory!r})\n", 0o700)
        self.write("env/extravars", extra_variables(self._variables))
        self.write("env/cmdline", shlex.join(self._arguments))
        settings = {"suppress_ansible_output": True, "suppress_output_file": True}
        self.write("env/settings", json.dumps({"job_timeout": self.timeout, **settings}))
        self.write("env/envvars", yaml.safe_dump({**ENVIRONMENT, **self._paths, **self.env}))

    @property
    def _variables(self) -> dict[str, Any]:
        meta = {**META, **self.meta}
        prefixed = {f"{p}_{k}": value for p in ("tower", "awx") for k, value in meta.items()}
        chart = {"gpu_operator_chart_ref": self.lab.environ["GPULAB_CHART"]}
        return {**chart, **SOON, **self.variables, **prefixed}

    @property
    def _arguments(self) -> list[str]:
        """As RunJob.build_args."""
        return [
            *(["--check"] if self.check else []),
            *("-u", "root"),
            *(["-l", self.limit] if self.limit else []),
            *([f"-{'v' * self.verbosity}"] if self.verbosity else []),
        ]

    @property
    def _paths(self) -> dict[str, str]:
        """Collections: of the project, then of the execution environment."""
        installed = self.folder / "collections"
        links = installed / "ansible_collections"
        links.mkdir(parents=True)
        (links / "gpufleet").symlink_to(COLLECTIONS / "ansible_collections" / "gpufleet")
        (links / "kubernetes").symlink_to(_kubernetes_core())
        collections = (self.worker / "requirements_collections", installed)
        return {
            "AWX_PRIVATE_DATA_DIR": str(self._private),
            "ANSIBLE_COLLECTIONS_PATH": ":".join(map(str, collections)),
            "ANSIBLE_ROLES_PATH": str(self.worker / "requirements_roles"),
        }


def _kubernetes_core() -> Path:
    """The folder of the namespace of kubernetes.core, which the package ansible brings."""
    return Path(sysconfig.get_path("purelib")) / "ansible_collections" / "kubernetes"


def _all(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _status(streamed: bytes) -> str:
    """The last status that the execution node has streamed."""
    found = ""
    for line in streamed.split(b"\n"):
        if line.startswith(b'{"status":'):
            found = json.loads(line)["status"]
    return found


class _Unsafe(yaml.SafeDumper):
    """Texts as !unsafe."""

    def represent_data(self, data: object) -> yaml.Node:
        if isinstance(data, str):
            return self.represent_scalar("!unsafe", data)
        return super().represent_data(data)


def extra_variables(variables: Mapping[str, Any]) -> str:
    """The file of extra variables: texts as !unsafe, as of prompts, surveys and AWX itself."""
    return yaml.dump(dict(variables), Dumper=_Unsafe, default_flow_style=False)


def script_data(everything: Mapping[str, Any]) -> dict[str, Any]:
    """The inventory as AWX's inventory script prints it (Inventory.get_script_data)."""
    data: dict[str, Any] = {"_meta": {"hostvars": {}}}
    hostvars = data["_meta"]["hostvars"]

    def add(name: str, group: Mapping[str, Any]) -> None:
        entry = data.setdefault(name, {})
        for host, variables in (group.get("hosts") or {}).items():
            entry.setdefault("hosts", []).append(host)
            remote = {"remote_tower_enabled": "true", "remote_host_enabled": "true"}
            hostvars[host] = {**hostvars.get(host, {}), **(variables or {}), **remote}
        if group.get("vars"):
            entry["vars"] = dict(group["vars"])
        for child, content in (group.get("children") or {}).items():
            entry.setdefault("children", []).append(child)
            add(child, content or {})

    add("all", everything)
    data["all"].setdefault("hosts", [])
    return data
