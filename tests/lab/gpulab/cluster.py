# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boot and end a lab: keys, control plane, nodes, simulator."""

from __future__ import annotations

import datetime
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from . import programs
from .api import Api
from .errors import LabError, ProgramFailed
from .fleet import Fleet
from .kubeconfig import API_NAMES, Server, issue
from .nodes import is_ready, node_object
from .paths import LAB_DIR
from .pki import Authority, Pair
from .process import Process, end, start, wait_for
from .programs import Files
from .state import Lab, create_lab, port_is_free, read_lab, remove_lab

_PORTS = ["etcd", "etcd-peer", "apiserver"]
_BOOT_SECONDS = 120.0
_POLL = 0.03
_KUBELET = "v1.37.2"
_MASTERS = "system:masters"
#: Certificate -> user and group. Each program has a name of its own, for the audit log.
_USERS: Mapping[str, tuple[str, str]] = {
    "admin": ("lab-admin", _MASTERS),
    "setup": ("lab-setup", _MASTERS),
    "kube-controller-manager": ("system:kube-controller-manager", _MASTERS),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kwok": ("lab-kwok", _MASTERS),
    "gpusim": ("lab-gpusim", _MASTERS),
}
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
omitManagedFields: true
rules: [{level: Metadata}]
"""


def up(name: str, fleet: Fleet, bin_dir: Path) -> tuple[Lab, bool]:
    """Boot a lab, or find it running with the same fleet (then the second value is False)."""
    lab = read_lab(name)
    if lab is not None and lab.booting:
        raise LabError(f"lab {name} is being started by process {lab.starter.pid}")
    if lab is not None and lab.running and not lab.dead:
        if lab.fleet != fleet.as_dict():
            raise LabError(f"lab {name} runs with another fleet; end it: lab down --name {name}")
        return lab, False
    down(name)
    lab = create_lab(name, fleet.as_dict(), _PORTS)
    with _torn_down_on_failure(lab):
        _Boot(lab, fleet, bin_dir).run()
    return lab, True


def down(name: str) -> bool:
    """End every process of the lab and remove its folder; False when there was none."""
    lab = read_lab(name)
    if lab is not None:
        if lab.booting and lab.starter.pid != os.getpid():
            raise LabError(f"lab {name} is being started by process {lab.starter.pid}")
        _end_all(lab)
    return remove_lab(name)


def restart_apiserver(name: str) -> Lab:
    """End and start the API server of a running lab, on its port; returns once it is ready."""
    lab = read_lab(name)
    if lab is None or not lab.running:
        raise LabError(f"lab {name} does not run")
    place, server = next((n, p) for n, p in enumerate(lab.processes) if p.name == "apiserver")
    end([server])
    if not wait_for(lambda: port_is_free(lab.ports["apiserver"]), _BOOT_SECONDS):
        raise LabError(f"port {lab.ports['apiserver']} of the API server is still in use")
    files = _files_of(lab, Path(lab.bin_dir))
    lab.processes[place] = _start(lab, "apiserver", _apiserver(lab, files))
    lab.save()
    setup = Pair(lab.folder / "pki" / "setup.crt", lab.folder / "pki" / "setup.key")
    api = Api(lab.ports["apiserver"], files.ca, setup)
    _wait(lab, "apiserver", "did not become ready", api.ready)
    return lab


def stop_simulator(name: str) -> None:
    """End gpusim of a running lab for good: nodes and pods stay as they are, whatever happens."""
    lab = read_lab(name)
    if lab is None or not lab.running:
        raise LabError(f"lab {name} does not run")
    end(process for process in lab.processes if process.name == "gpusim")
    lab.processes = [process for process in lab.processes if process.name != "gpusim"]
    lab.save()


def _end_all(lab: Lab) -> None:
    """Clients first, the store last, then wait for the ports."""
    order = ["apiserver", "etcd"]
    end(process for process in lab.processes if process.name not in order)
    for name in order:
        end(process for process in lab.processes if process.name == name)
    wait_for(lambda: all(port_is_free(port) for port in lab.ports.values()), 10)


@contextmanager
def _torn_down_on_failure(lab: Lab) -> Iterator[None]:
    """Whatever stops the boot, Ctrl-C and SIGTERM too, leaves nothing behind."""

    def interrupted(number: int, _frame: object) -> None:
        raise LabError(f"interrupted by {signal.Signals(number).name}")

    previous = signal.signal(signal.SIGTERM, interrupted)
    try:
        yield
    except BaseException:
        _end_all(lab)
        remove_lab(lab.name)
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


@dataclass
class _Boot:
    lab: Lab
    fleet: Fleet
    bin_dir: Path
    users: dict[str, Pair] = field(default_factory=dict)

    def run(self) -> None:
        files = self._files()
        api = Api(self.lab.ports["apiserver"], files.ca, self.users["setup"])
        self._start("etcd", programs.etcd(files))
        self._start("apiserver", _apiserver(self.lab, files))
        self._wait("apiserver", "did not become ready", api.ready)
        self._start("kube-controller-manager", programs.controller_manager(files))
        self._start("kube-scheduler", programs.scheduler(files))
        self._create_nodes(api)
        self._start("kwok", programs.kwok(files, LAB_DIR / "kwok.conf"))
        self._start(
            "gpusim", programs.gpusim(files, self.fleet.settings, operator=self.fleet.operator)
        )
        self._wait("gpusim", "did not fill its caches", files.ready_file.exists)
        self._wait(
            "kube-controller-manager",
            "made no default service account",
            lambda: api.get("/api/v1/namespaces/default/serviceaccounts/default") is not None,
        )
        self._wait("kwok", "left nodes not ready", lambda: self._nodes_ready(api), poll=0.1)
        self.lab.running = True
        self.lab.bin_dir = str(self.bin_dir)
        self.lab.started_at = _now()
        self.lab.save()

    def _files(self) -> Files:
        authority = Authority(self.lab.folder / "pki")
        authority.server("apiserver", list(API_NAMES), ["127.0.0.1", "10.202.0.1"])
        server = Server(self.lab.name, self.lab.url, authority.cert)
        self.users = issue(authority, server, _USERS, self.lab.folder)
        (self.lab.folder / "audit-policy.yaml").write_text(AUDIT_POLICY, encoding="utf-8")
        authority.service_account_key()
        return _files_of(self.lab, self.bin_dir)

    def _start(self, name: str, command: list[str]) -> None:
        self.lab.processes.append(_start(self.lab, name, command))
        self.lab.save()

    def _wait(
        self, program: str, failure: str, condition: Callable[[], bool], poll: float = _POLL
    ) -> None:
        _wait(self.lab, program, failure, condition, poll)

    def _create_nodes(self, api: Api) -> None:
        now = _now()
        nodes = self.fleet.nodes()
        objects = (node_object(node, index, _KUBELET, now) for index, node in enumerate(nodes))
        api.create_all("/api/v1/nodes", objects)

    def _nodes_ready(self, api: Api) -> bool:
        listed = api.get("/api/v1/nodes?resourceVersion=0")
        wanted = len(self.fleet.nodes())
        return listed is not None and sum(map(is_ready, listed["items"])) == wanted


def _files_of(lab: Lab, bin_dir: Path) -> Files:
    """What the programs of a lab share, once its keys are there."""
    pki = lab.folder / "pki"
    server = Pair(pki / "apiserver.crt", pki / "apiserver.key")
    return Files(lab.folder, bin_dir, lab.ports, pki / "ca.crt", server, pki / "sa.key")


def _apiserver(lab: Lab, files: Files) -> list[str]:
    return programs.apiserver(files, fairness=bool(lab.fleet.get("fairness")))


def _start(lab: Lab, name: str, command: list[str]) -> Process:
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(lab.folder)}
    environment["GOGC"] = "200"  # some memory for speed
    return start(name, command, lab.log_of(name), environment)


def _wait(
    lab: Lab, program: str, failure: str, condition: Callable[[], bool], poll: float = _POLL
) -> None:
    """Until the condition holds; a program that ends meanwhile is the better message."""
    wait_for(lambda: bool(lab.dead) or condition(), _BOOT_SECONDS, poll)
    if lab.dead:
        raise ProgramFailed(lab.log_of(lab.dead[0]), lab.dead[0], "ended")
    if not condition():
        late = f"{failure} within {_BOOT_SECONDS:.0f} s"
        raise ProgramFailed(lab.log_of(program), program, late)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
