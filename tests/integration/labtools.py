# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What integration tests share: a lab of their own, Ansible run on it, and its audit log."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import kubernetes
import yaml

from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.tests.integration.answers import (
    Answers,
    naming,
    read,
    texts_of,
)

if TYPE_CHECKING:
    from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.connection import ApiClient


ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "tests" / "lab" / "lab"
FLEET = ROOT / "tests" / "lab" / "fleets" / "small.yml"
ROLLOUT = FLEET.with_name("rollout.yml")  # 200 GPU nodes
PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))
COLLECTIONS = ROOT / ".build" / "collections"
RAN = re.compile(r"^RAN \S+ gpufleet\.sharing\.(\w+) (ok|failed) (apply|check)$", re.MULTILINE)
EXPORT = re.compile(r"export (\w+)=(.*)")
RECAP = re.compile(
    r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE
)
PROFILES = {"default": {"replicas": 4}, "dev": {"replicas": 8}, "no-sharing": {"replicas": 1}}
GROUPS: dict[str, Any] = {
    "dev_gpus": {
        "hosts": {"dev-gpu-01": {}, "dev-gpu-02": {}},
        "vars": {"gpu_sharing_profile": "dev"},
    },
    "prod_gpus": {"hosts": {"prod-gpu-01": {}, "prod-gpu-02": {}}},
    "train_gpus": {
        "hosts": {"train-gpu-01": {}},
        "vars": {"gpu_sharing_profile": "no-sharing"},
    },
}
SELF_REVIEWS = ("selfsubjectreviews", "selfsubjectaccessreviews")


@dataclass(frozen=True)
class Run:
    """How one ansible-playbook ended."""

    rc: int
    output: str
    given: Answers | None = None  # of modules that ran without Ansible around them

    @property
    def changed(self) -> dict[str, int]:
        """Changed tasks by host."""
        return {host: int(changed) for host, changed, *_rest in RECAP.findall(self.output)}

    def succeeded(self) -> Run:
        assert self.rc == 0, self.output
        return self

    def failed(self) -> Run:
        assert self.rc != 0, self.output
        return self

    def ran(self, mode: str = "apply") -> list[str]:
        """The modules of ours that ran, in their order: those that may write, or ("check") those
        that only looked.
        """
        return [name for name, _status, how in RAN.findall(self.output) if how == mode]

    @property
    def broken(self) -> list[str]:
        """The modules of ours that have failed."""
        return [name for name, status, _how in RAN.findall(self.output) if status == "failed"]

    @property
    def answers(self) -> Answers:
        return self.given or read(self.output)

    @property
    def failure(self) -> Mapping[str, Any]:
        """The result of the task that has failed; of several, the last one's."""
        assert self.answers.failures, self.output
        return self.answers.failures[-1]

    @property
    def problems(self) -> list[str]:
        """What is wrong, one by one, where a module has failed."""
        return [line[2:] for line in self.failure["msg"].splitlines() if line.startswith("- ")]

    def naming(self, *values: object) -> list[str]:
        """The lines that name all of these, each as a word of its own."""
        return naming(self.answers.texts, *values)

    def names(self, *values: object) -> Run:
        """One line names all of these: node, key, number, code or option, and not how it is put."""
        assert self.naming(*values), f"no line names {values}:\n{self.output}"
        return self

    def fails_with(self, *values: object) -> Run:
        """A task has failed, and one line of its result names all of these."""
        found = naming(texts_of(self.failed().answers.failures), *values)
        assert found, f"no failure names {values}:\n{self.output}"
        return self

    def stats(self, name: str) -> Any:
        """What the run has handed on to other jobs (with ANSIBLE_SHOW_CUSTOM_STATS), or None."""
        _before, mark, shown = self.output.partition("CUSTOM STATS: ")
        if not mark:
            return None
        found, _end = json.JSONDecoder().raw_decode(shown[shown.index("{") :])
        return found[name]


def is_write(event: Mapping[str, Any], user: str) -> bool:
    """Whether a line of the audit log is a write request of a user; self-reviews are none."""
    return (
        event["user"]["username"] == user
        and event["verb"] in ("create", "update", "patch", "delete", "deletecollection")
        and (event.get("objectRef") or {}).get("resource") not in SELF_REVIEWS
    )


@dataclass
class Lab:
    """A booted lab."""

    name: str
    environ: dict[str, str]
    seen: int = field(default=0)

    def kubectl(self, *arguments: str) -> str:
        done = subprocess.run(
            ["kubectl", *arguments], env=self.environ, check=True, text=True, capture_output=True
        )
        return done.stdout

    def attempt(self, *arguments: str, text: str | None = None) -> Run:
        """Run kubectl, which may fail, with some text as its input."""
        done = subprocess.run(
            ["kubectl", *arguments],
            env=self.environ,
            check=False,
            text=True,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return Run(done.returncode, done.stdout)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Create or replace objects, as somebody else than our collection."""
        text = yaml.safe_dump_all(documents)
        command = ["kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-"]
        subprocess.run(
            command, env=self.environ, check=True, text=True, input=text, capture_output=True
        )

    def allocatable(self, resource: str = "nvidia.com/gpu") -> dict[str, str]:
        nodes = self.json("nodes")["items"]
        found = {n["metadata"]["name"]: n["status"]["allocatable"].get(resource) for n in nodes}
        return {name: count for name, count in found.items() if count is not None}

    def labels(self, label: str = "nvidia.com/device-plugin.config") -> dict[str, str]:
        nodes = self.json("nodes")["items"]
        found = {n["metadata"]["name"]: n["metadata"]["labels"].get(label) for n in nodes}
        return {name: value for name, value in found.items() if value is not None}

    def plugin_pods(self) -> dict[str, str]:
        """Uids of the plugin and GFD pods by node and app."""
        pods = self.json("pods", "-n", "gpu-operator")["items"]
        return {
            f"{pod['spec'].get('nodeName')}/{pod['metadata']['labels']['app']}": pod["metadata"][
                "uid"
            ]
            for pod in pods
            if pod["metadata"]["labels"].get("app") != "gpu-operator"
        }

    def forget_requests(self) -> None:
        """Count requests from here on."""
        self.seen = len(self._audit())

    def writes(
        self,
        user: str = "lab-admin",
        *,
        dry_run: bool = False,
        impersonating: str | None = None,
    ) -> list[str]:
        """Create, update, patch and delete requests since forget_requests, self-reviews aside.

        impersonating keeps those made as that user, or ("") those made as nobody else.
        """
        events = [json.loads(line) for line in self._audit()[self.seen :]]
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in events
            if is_write(event, user)
            and (dry_run or "dryRun=All" not in event["requestURI"])
            and impersonating in (None, event.get("impersonatedUser", {}).get("username", ""))
        ]

    def _audit(self) -> list[str]:
        """The complete lines of the audit log, that of a request of our own included."""
        self.kubectl("get", "--raw", "/version")
        text = Path(self.environ["GPULAB_AUDIT_LOG"]).read_text(encoding="utf-8")
        return text[: text.rfind("\n") + 1].splitlines()

    def restart_apiserver(self) -> None:
        """Break every connection and watch; returns when the server is ready again."""
        command = [str(LAB), "restart", "--name", self.name]
        subprocess.run(command, check=True, env=self.environ, stdout=subprocess.DEVNULL)

    def wait_for(self, what: Callable[[], bool], timeout: float = 120) -> None:
        """Wait for a condition; the patience is for machines that have a lot to do."""
        deadline = time.monotonic() + timeout
        while not what():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.4)

    def playbook(
        self,
        name: str,
        inventory: Path,
        *arguments: str,
        variables: Mapping[str, Any] | None = None,
        environ: Mapping[str, str | None] | None = None,
    ) -> Run:
        """Run gpufleet.sharing.<name>. A variable of environ that is None is unset."""
        _tool, *command = self.command(name, inventory, *arguments, variables=variables)
        return self.ansible(command, environ, inventory)

    def ansible(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str | None] | None = None,
        folder: Path | None = None,
    ) -> Run:
        """Run ansible-playbook with these arguments, in a folder."""
        done = subprocess.run(
            [PLAYBOOK, *arguments],
            env=self.ansible_environ(environ),
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
        )
        return Run(done.returncode, done.stdout)

    def command(
        self,
        name: str,
        inventory: Path,
        *arguments: str,
        variables: Mapping[str, Any] | None = None,
    ) -> list[str]:
        given = {
            "gpu_operator_chart_ref": self.environ["GPULAB_CHART"],
            "gpu_sharing_rollout_stable_seconds": 1,
            "gpu_sharing_rollout_timeout": 60,
            "gpu_operator_timeout": 180,
            **(variables or {}),
        }
        playbook = f"gpufleet.sharing.{name}"
        return [PLAYBOOK, playbook, "-i", str(inventory), "-e", json.dumps(given), *arguments]

    def ansible_environ(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        merged: dict[str, str | None] = {**self.environ, **(changes or {})}
        return {name: value for name, value in merged.items() if value is not None}


def boot(name: str, fleet: Path = FLEET, *settings: str) -> Lab:
    environ = {
        **{key: value for key, value in os.environ.items() if not key.startswith("K8S_AUTH_")},
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONUNBUFFERED": "1",  # as on a terminal: lines of a run come as they are said
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callbacks")),
        "ANSIBLE_CALLBACKS_ENABLED": "modules_run",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INJECT_FACT_VARS": "false",  # as it will be in ansible-core 2.24
    }
    options = [option for setting in settings for option in ("--set", setting)]
    subprocess.run([LAB, "up", "--name", name, "--fleet", fleet, *options], check=True, env=environ)
    printed = subprocess.run(
        [LAB, "env", "--name", name], check=True, text=True, capture_output=True
    )
    exported = dict(EXPORT.findall(printed.stdout))
    environ.update(
        {key: value.replace("$PATH", environ["PATH"]) for key, value in exported.items()}
    )
    return Lab(name, environ)


def shut_down(lab: Lab) -> None:
    subprocess.run([LAB, "down", "--name", lab.name], check=True)


def write_inventory(
    folder: Path,
    groups: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    clusters: Mapping[str, Any] | None = None,
) -> Path:
    """An inventory folder: the recipe's groups and profiles, unless told otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    children: dict[str, Any] = {"gpu_nodes": {"children": groups if groups is not None else GROUPS}}
    if clusters is not None:
        children["gpu_clusters"] = {"hosts": clusters}
    hosts = {"all": {"children": children}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")
    (folder / "group_vars").mkdir(exist_ok=True)
    given = {"gpu_sharing_profiles": PROFILES} | dict(variables or {})
    (folder / "group_vars" / "all.yml").write_text(yaml.safe_dump(given), encoding="utf-8")
    return folder


def module_command(name: str, arguments: Mapping[str, Any], *flags: str) -> list[str]:
    """The ad-hoc call of Ansible that runs one module, with its action plugin."""
    tool = str(Path(sys.executable).with_name("ansible"))
    interpreter = f"ansible_python_interpreter={sys.executable}"
    module = ["-m", f"gpufleet.sharing.{name}", "-a", json.dumps(arguments)]
    return [tool, "localhost", *module, "-e", interpreter, *flags]


def module_result(lab: Lab, name: str, arguments: Mapping[str, Any], *flags: str) -> dict[str, Any]:
    """Run one module by an ad-hoc call of Ansible and return its result, with what Ansible warned
    of as printed.
    """
    command = module_command(name, arguments, *flags)
    environ = lab.ansible_environ(
        {"ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    )
    done = subprocess.run(command, env=environ, check=False, text=True, capture_output=True)
    start = done.stdout.index("=> {")
    result, _end = json.JSONDecoder().raw_decode(done.stdout, start + 3)
    assert isinstance(result, dict)
    failed = {"failed": True} if done.stdout[:start].rstrip().endswith("FAILED!") else {}
    return {**result, **failed, "printed": done.stderr}


def lease_holder(lab: Lab) -> str:
    """Who holds the lease; empty when it has been released."""
    lease = lab.json("lease", "gpufleet-sharing", "-n", "gpu-operator")
    return str(lease["spec"].get("holderIdentity", ""))


def remains(lab: Lab) -> list[str]:
    """Whatever uninstall has to take away, as kind/name: marks of ours on objects, and objects that
    we keep: but namespaces and ConfigMaps of our making stay where others have put something in.
    """
    found = []
    for kind in ("nodes", "namespaces", "pods", "configmaps", "leases", "controllerrevisions"):
        for item in lab.json(kind, "-A")["items"]:
            metadata = item["metadata"]
            labels = metadata.get("labels", {})
            marks = [*metadata.get("annotations", {}), *labels]
            kept = labels.get("app.kubernetes.io/managed-by") == "gpufleet.sharing"
            ours = kept and kind not in ("namespaces", "configmaps")
            if ours or any(mark.startswith("gpufleet.sharing/") for mark in marks):
                found.append(f"{kind}/{metadata['name']}")
    return found


def connected(lab: Lab) -> Cluster:
    """The collection's own door to the lab, for tests below the modules."""
    settings = kubernetes.client.Configuration()
    loader = kubernetes.config.load_kube_config
    loader(lab.environ["KUBECONFIG"], client_configuration=settings)
    api = kubernetes.client.ApiClient(settings)
    return Cluster(cast("ApiClient", api), str(settings.host))
