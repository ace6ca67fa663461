# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which cluster, and as whom: Helm and the modules reach the same server as the same identity. Two
runs of site show that all of it does; the other cases settle the connection as every playbook does,
and let Helm and one module read by it.
"""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.gpufleet.sharing.tests.integration.fleettools import replicas
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    ROOT,
    Lab,
    Run,
    boot,
    shut_down,
)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MODULES, HELM = "gpufleet.sharing", "Helm/"  # as the audit log calls them
CLUSTER_VARS = ROOT / "playbooks" / "vars" / "cluster.yml"
PROBE = """\
- hosts: localhost
  gather_facts: false
  vars_files: [CLUSTER_VARS]
  module_defaults:
    group/gpufleet.sharing.all: "{{ gpu_preflight_result.auth | default({}) }}"
  tasks:
    - ansible.builtin.include_role:
        name: gpufleet.sharing.gpu_preflight
      vars:
        gpu_preflight_purpose: history
        gpu_preflight_fleet: false
    - ansible.builtin.debug:
        msg: "{{ gpu_preflight_result.about }}"
    - gpufleet.sharing.helm_release:
        name: nobodys
        chart_ref: none
        state: absent
"""
ROBOT = "system:serviceaccount:kube-system:robot"


@pytest.fixture(scope="module")
def other() -> Iterator[Lab]:
    booted = boot(f"other-{os.getpid()}")
    yield booted
    shut_down(booted)


@pytest.fixture(scope="module")
def token(lab: Lab) -> str:
    """The token of an account that may do everything in lab."""
    lab.kubectl("create", "serviceaccount", "robot", "-n", "kube-system")
    binding = ("create", "clusterrolebinding", "robot", "--clusterrole=cluster-admin")
    lab.kubectl(*binding, "--serviceaccount=kube-system:robot")
    return lab.kubectl("create", "token", "robot", "-n", "kube-system").strip()


def cluster_field(lab: Lab, name: str) -> str:
    path = f"jsonpath={{.clusters[0].cluster.{name}}}"
    return lab.kubectl("config", "view", "--raw", "-o", path)


def ca_file(lab: Lab, folder: Path) -> Path:
    data = cluster_field(lab, "certificate-authority-data")
    file = folder / "ca.crt"
    file.write_bytes(base64.b64decode(data))
    return file


def renamed_user(lab: Lab, folder: Path) -> Path:
    """The lab's kubeconfig with a user name of its own: of two users of one name the first wins."""
    text = Path(lab.environ["KUBECONFIG"]).read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    document["users"][0]["name"] = document["contexts"][0]["context"]["user"] = f"{lab.name}-user"
    file = folder / f"{lab.name}.kubeconfig"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file


def only_writer(lab: Lab, user: str) -> None:
    """Everything that site writes, Helm's Secret among it, was written as this user."""
    wrote = lab.writes(user)
    assert any("/secrets" in request for request in wrote), wrote  # Helm
    assert any("/configmaps" in request for request in wrote), wrote  # module profiles
    assert any("/api/v1/nodes/" in request for request in wrote), wrote  # module node_profiles
    others = {"lab-admin", ROBOT, "system:anonymous"} - {user}
    assert not [request for name in others for request in lab.writes(name)]


def readers(lab: Lab, agent: str) -> set[str]:
    """As whom a program has asked since forget_requests."""
    text = Path(lab.environ["GPULAB_AUDIT_LOG"]).read_text(encoding="utf-8")
    events = map(json.loads, text[: text.rfind("\n")].splitlines()[lab.seen :])
    return {
        event["user"]["username"]
        for event in events
        if event.get("userAgent", "").startswith(agent)
    }


def probe(lab: Lab, inventory: Path, *arguments: str, **more: Any) -> Run:
    """Resolve the connection, and let Helm and a module read: both find nothing."""
    lab.forget_requests()
    playbook = inventory / "probe.yml"
    playbook.write_text(PROBE.replace("CLUSTER_VARS", str(CLUSTER_VARS)), encoding="utf-8")
    _tool, _site, *options = lab.command(
        "site", inventory / "hosts.yml", *arguments, variables=more.get("variables")
    )
    return lab.ansible([str(playbook), *options], more.get("environ"))


def only_reader(lab: Lab, user: str) -> None:
    """The modules and Helm have asked this cluster, and as nobody else."""
    assert readers(lab, MODULES) == {user}
    assert readers(lab, HELM) == {user}


def nobody_asked(lab: Lab) -> None:
    assert readers(lab, MODULES) == readers(lab, HELM) == set()


@pytest.mark.full("a whole run of site")
def test_host_and_token_of_the_environment(
    lab: Lab, inventory: Path, token: str, tmp_path: Path
) -> None:
    lab.forget_requests()
    environ = {
        "KUBECONFIG": None,
        "HOME": str(tmp_path),
        "K8S_AUTH_HOST": cluster_field(lab, "server"),
        "K8S_AUTH_API_KEY": token,
        "K8S_AUTH_SSL_CA_CERT": str(ca_file(lab, tmp_path)),
    }
    run = lab.playbook("site", inventory, "-vvv", environ=environ).succeeded()
    run.names(cluster_field(lab, "server"), "v1.37.2", ROBOT, "K8S_AUTH_SSL_CA_CERT")
    assert token not in run.output
    only_writer(lab, ROBOT)
    only_reader(lab, ROBOT)


@pytest.mark.full("a whole run of site")
def test_impersonation_reaches_helm_too(lab: Lab, inventory: Path, token: str) -> None:
    """The audit log names the identity that acts; impersonated requests are written as it."""
    lab.forget_requests()
    variables = {
        "gpu_sharing_impersonate_user": ROBOT,
        "gpu_sharing_kubeconfig": lab.environ["KUBECONFIG"],
        "gpu_operator_values": {"driver": {"enabled": False}},
        **replicas(dev=6),
    }
    run = lab.playbook("site", inventory, variables=variables).succeeded()
    run.names(cluster_field(lab, "server"), ROBOT)
    impersonated = lab.writes("lab-admin", impersonating=ROBOT)
    assert any("/secrets" in request for request in impersonated)
    assert any("/configmaps" in request for request in impersonated)
    assert lab.writes("lab-admin", impersonating="") == []


def test_token_of_a_kubeconfig(lab: Lab, inventory: Path, token: str, tmp_path: Path) -> None:
    document = yaml.safe_load(Path(lab.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
    document["users"][0]["user"] = {"token": token}
    file = tmp_path / "token.kubeconfig"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    environ = {"KUBECONFIG": str(file), "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local")}
    run = probe(lab, inventory, environ=environ)
    run.succeeded().names(ROBOT, "kubeconfig", file)
    only_reader(lab, ROBOT)
    assert (tmp_path / "local").is_dir()
    assert not list((tmp_path / "local").rglob("gpufleet-sharing-*"))  # that of the run is gone


@pytest.mark.full("another place of credentials")
def test_context_of_a_kubeconfig_with_several(
    lab: Lab, other: Lab, inventory: Path, tmp_path: Path
) -> None:
    """The current context is the other cluster's; the variable names ours."""
    paths = os.pathsep.join(str(renamed_user(each, tmp_path)) for each in (other, lab))
    other.forget_requests()
    variables = {"gpu_sharing_context": lab.name}
    run = probe(lab, inventory, variables=variables, environ={"KUBECONFIG": paths}).succeeded()
    run.names(cluster_field(lab, "server"), "lab-admin", "variables", "context")
    only_reader(lab, "lab-admin")
    nobody_asked(other)


@pytest.fixture
def pod(lab: Lab, token: str) -> Iterator[dict[str, str | None]]:
    """The surroundings of a pod in lab: variables and mounted files."""
    if os.geteuid() != 0 or SERVICE_ACCOUNT.exists():
        pytest.skip(f"{SERVICE_ACCOUNT} cannot be laid out here (needs root, and no pod)")
    made = [p for p in (SERVICE_ACCOUNT, *SERVICE_ACCOUNT.parents) if not p.exists()]
    SERVICE_ACCOUNT.mkdir(parents=True)
    (SERVICE_ACCOUNT / "token").write_text(token, encoding="utf-8")
    ca_file(lab, SERVICE_ACCOUNT)
    host, _colon, port = cluster_field(lab, "server").removeprefix("https://").rpartition(":")
    yield {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    for file in SERVICE_ACCOUNT.iterdir():
        file.unlink()
    for folder in made:
        folder.rmdir()


@pytest.mark.full("another place of credentials")
def test_kubeconfig_wins_against_the_pod_for_modules_and_helm(
    lab: Lab, other: Lab, inventory: Path, pod: dict[str, str | None]
) -> None:
    lab.forget_requests()
    run = probe(other, inventory, environ=pod).succeeded()
    run.names(cluster_field(other, "server"), "lab-admin", "kubeconfig")
    only_reader(other, "lab-admin")
    nobody_asked(lab)


def test_credentials_of_the_pod_are_the_last_resort(
    lab: Lab, inventory: Path, pod: dict[str, str | None], tmp_path: Path
) -> None:
    environ = {**pod, "KUBECONFIG": None, "HOME": str(tmp_path)}
    run = probe(lab, inventory, environ=environ).succeeded()
    run.names(cluster_field(lab, "server"), ROBOT, "in-cluster")
    run.names("WARNING", "pod")
    only_reader(lab, ROBOT)


class Tunnel(socketserver.StreamRequestHandler):
    """An HTTP proxy that leads wherever it is asked for to one API server."""

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass  # CONNECT <host>:<port>, and headers
        assert isinstance(self.server, TunnelServer)
        with socket.create_connection(("127.0.0.1", self.server.target)) as there:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ways = {self.connection: there, there: self.connection}
            while ready := select.select(list(ways), [], [], 60)[0]:
                for end in ready:
                    if not (data := end.recv(65536)):
                        return
                    ways[end].sendall(data)


class TunnelServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    target = 0


@pytest.fixture
def proxy(lab: Lab) -> Iterator[str]:
    with TunnelServer(("127.0.0.1", 0), Tunnel) as server:
        server.target = int(cluster_field(lab, "server").rpartition(":")[2])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def behind(lab: Lab, tmp_path: Path) -> dict[str, Any]:
    """A kubeconfig whose server only the proxy knows."""
    document: dict[str, Any] = yaml.safe_load(
        Path(lab.environ["KUBECONFIG"]).read_text(encoding="utf-8")
    )
    document["clusters"][0]["cluster"] = {
        "server": "https://api.behind.invalid:6443",
        "insecure-skip-tls-verify": True,
    }
    return document


UNUSED = {"HTTPS_PROXY": "http://127.0.0.1:1"}


@pytest.mark.full("another place of the proxy", keep=1)
@pytest.mark.parametrize(
    ("by", "environ"),
    [
        ("kubeconfig", {"NO_PROXY": "behind.invalid", **UNUSED}),  # which Go does not ask then
        ("variable", UNUSED),
        ("environment", {}),
    ],
)
def test_modules_and_helm_take_the_same_proxy(
    lab: Lab, inventory: Path, proxy: str, behind: dict[str, Any], by: str, environ: dict[str, str]
) -> None:
    """Either would fail without the proxy, since nobody else knows the server's name."""
    if by == "kubeconfig":
        behind["clusters"][0]["cluster"]["proxy-url"] = proxy
    given = {"gpu_sharing_proxy": proxy} if by == "variable" else {}
    environ = environ | ({"HTTPS_PROXY": proxy} if by == "environment" else {})
    variables = {"gpu_sharing_kubeconfig": behind, **given}
    probe(lab, inventory, variables=variables, environ=environ).succeeded()
    only_reader(lab, "lab-admin")


@pytest.mark.full("another place of the proxy")
def test_server_that_is_exempt_from_the_proxy_is_reached_by_both(lab: Lab, inventory: Path) -> None:
    environ = {"K8S_AUTH_PROXY": "http://127.0.0.1:1", "K8S_AUTH_NO_PROXY": "127.0.0.0/8"}
    probe(lab, inventory, environ=environ).succeeded()
    probe(lab, inventory, environ=UNUSED).succeeded()  # Go spares localhost
    run = probe(lab, inventory, environ=environ | {"K8S_AUTH_NO_PROXY": None})
    run.fails_with(cluster_field(lab, "server"))


@pytest.mark.full("another place of credentials")
def test_token_replaces_the_certificate_of_a_kubeconfig(
    lab: Lab, inventory: Path, token: str
) -> None:
    """Of the two the API server would take the certificate."""
    variables = {"gpu_sharing_kubeconfig": lab.environ["KUBECONFIG"], "gpu_sharing_api_key": token}
    run = probe(lab, inventory, "-vvv", variables=variables).succeeded()
    run.names(ROBOT, "variables", "kubeconfig")
    assert token not in run.output
    only_reader(lab, ROBOT)
