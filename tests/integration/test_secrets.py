# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets, given in every supported way, are in nothing that a run prints or leaves: output, events
of AWX, logs, reports and temporary files.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    Lab,
    Run,
    write_inventory,
)

READS = {"gpu_verify_probe": False, "gpu_verify_fail_on": "never"}
QUIET, VERBOSE, MOST = (), ("-vvv",), ("-vvvvv",)
PLANTED = "sesame"  # begins each secret that is not the lab's
VALUES = {
    "imagePullSecret": {"password": f"{PLANTED}PullSecret", "auth": f"{PLANTED}\nIn two lines"},
    "driver": {
        "env": [{"name": "HTTPS_PROXY", "value": f"http://ann:{PLANTED}Proxy@proxy.invalid:3128"}]
    },
}
VAULT = VaultLib([("default", VaultSecret(b"open"))])
FAILING_EXEC = "import os, sys; sys.exit('no login with ' + os.environ['SECRET'])"


class Echo(BaseHTTPRequestHandler):
    """A Prometheus that refuses, and repeats what it was sent."""

    def do_GET(self) -> None:
        body = json.dumps({"error": str(self.headers), "path": self.path}).encode()
        self.send_response(403, str(self.headers["Authorization"]))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def prometheus() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@dataclass(frozen=True)
class Credentials:
    """The credentials of the lab in all forms."""

    kubeconfig: dict[str, Any]  # with client certificate and key
    token: str

    @property
    def cluster(self) -> dict[str, str]:
        return dict(self.kubeconfig["clusters"][0]["cluster"])

    @property
    def with_token(self) -> dict[str, Any]:
        name = self.kubeconfig["users"][0]["name"]
        return self.kubeconfig | {"users": [{"name": name, "user": {"token": self.token}}]}

    def with_user(self, **user: Any) -> dict[str, Any]:
        name = self.kubeconfig["users"][0]["name"]
        return self.kubeconfig | {"users": [{"name": name, "user": user}]}

    def pem(self, name: str) -> str:
        data = {**self.cluster, **self.kubeconfig["users"][0]["user"]}[f"{name}-data"]
        return base64.b64decode(data).decode()

    @property
    def variables(self) -> dict[str, str]:
        """As PEM."""
        return {
            "gpu_sharing_host": self.cluster["server"],
            "gpu_sharing_ca_cert": self.pem("certificate-authority"),
            "gpu_sharing_client_cert": self.pem("client-certificate"),
            "gpu_sharing_client_key": self.pem("client-key"),
        }

    def files(self, folder: Path) -> dict[str, str]:
        """As paths of files."""
        found = {"gpu_sharing_host": self.cluster["server"]}
        for name in ("certificate-authority", "client-certificate", "client-key"):
            (folder / name).write_text(self.pem(name), encoding="utf-8")
        for option, name in (
            ("ca_cert", "certificate-authority"),
            ("client_cert", "client-certificate"),
            ("client_key", "client-key"),
        ):
            found[f"gpu_sharing_{option}"] = str(folder / name)
        return found

    @property
    def secrets(self) -> set[str]:
        """What must be found nowhere: every secret, also as base64, and each line of a key."""
        key = self.pem("client-key")
        lines = [line for line in key.splitlines() if not line.startswith("-----")]
        plain = {PLANTED, self.token, self.token.rpartition(".")[2], *lines}
        return plain | {base64.b64encode(text.encode()).decode().rstrip("=") for text in plain}


@pytest.fixture(scope="module")
def credentials(lab: Lab) -> Credentials:
    lab.attempt("create", "serviceaccount", "robot", "-n", "kube-system")
    binding = ("create", "clusterrolebinding", "robot", "--clusterrole=cluster-admin")
    lab.attempt(*binding, "--serviceaccount=kube-system:robot")
    token = lab.kubectl("create", "token", "robot", "-n", "kube-system").strip()
    text = Path(lab.environ["KUBECONFIG"]).read_text(encoding="utf-8")
    return Credentials(yaml.safe_load(text), token)


@dataclass
class Desk:
    """Where runs happen, and what they leave there."""

    lab: Lab
    folder: Path
    secrets: set[str]
    environ: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("home", "tmp", "local", "out"):
            (self.folder / name).mkdir()
        self.environ = {
            "KUBECONFIG": None,
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "local"),
            "ANSIBLE_LOG_PATH": str(self.folder / "out" / "log"),
            "ANSIBLE_CALLBACKS_ENABLED": "modules_run,job_events",
            "GPUFLEET_JOB_EVENTS": str(self.folder / "out" / "events"),
            "ANSIBLE_SHOW_CUSTOM_STATS": "true",
            "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "true",
        }
        self.inventory = write_inventory(self.folder / "inventory")

    def run(self, playbook: str, *arguments: str, **given: Any) -> Run:
        """Run a playbook and look for the secrets. Variables are in a file, as AWX gives them:
        Ansible prints its command line with -vvvv.
        """
        variables = READS | {"gpu_sharing_report": str(self.folder / "out" / "report.html")}
        file = self.folder / "variables.json"
        file.write_text(json.dumps(variables | given.get("variables", {})), encoding="utf-8")
        environ = self.environ | given.get("environ", {})
        arguments = (*arguments, "-e", f"@{file}")
        run = self.lab.playbook(playbook, self.inventory, *arguments, environ=environ)
        (self.folder / "out" / "output").write_text(run.output, encoding="utf-8")
        assert self.leaks() == []
        return run

    def vault(self) -> tuple[str, str]:
        """The arguments that open VAULT."""
        file = self.folder / "password"
        file.write_text("open", encoding="utf-8")
        return "--vault-password-file", str(file)

    def leaks(self) -> list[str]:
        """The lines of all that a run has left that have a secret."""
        return [
            f"{file.relative_to(self.folder)}: {line[:2000]}"
            for file in self.left()
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
            if any(secret in line for secret in self.secrets)
        ]

    def left(self) -> list[Path]:
        places = ("home", "tmp", "local", "out")
        return [f for place in places for f in (self.folder / place).rglob("*") if f.is_file()]

    def events(self) -> list[dict[str, Any]]:
        text = (self.folder / "out" / "events").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def desk(lab: Lab, tmp_path: Path, credentials: Credentials) -> Desk:
    return Desk(lab, tmp_path, credentials.secrets)


def test_secrets_are_found_where_they_are(desk: Desk, credentials: Credentials) -> None:
    """The search finds what a task prints, and what it leaves in a file."""
    playbook = desk.folder / "leak.yml"
    tasks = [{"ansible.builtin.debug": {"msg": "{{ secret }}"}}]
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    playbook.write_text(yaml.safe_dump(play), encoding="utf-8")
    for secret in (credentials.token, credentials.pem("client-key")):
        arguments = [str(playbook), "-e", json.dumps({"secret": secret})]
        run = desk.lab.ansible(arguments, desk.environ).succeeded()
        (desk.folder / "out" / "output").write_text(run.output, encoding="utf-8")
        places = {leak.partition(":")[0] for leak in desk.leaks()}
        assert places == {"out/output", "out/log", "out/events"}


# Runs that succeed, each with another way to give the credentials


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
def test_site_with_json(desk: Desk, credentials: Credentials) -> None:
    """The first run: it installs the operator for the others."""
    given = {
        "gpu_sharing_kubeconfig": json.dumps(credentials.with_token),
        "gpu_operator_values": VALUES,
    }
    desk.run("site", *VERBOSE, "--diff", variables=given).succeeded()
    released = next(e for e in desk.events() if e["event"] == "ok" and "helm" in e["action"])
    assert "imagePullSecret.password" in released["res"]["changed_values"]
    again = desk.run("site", *QUIET, variables=given | {"gpu_operator_values": json.dumps(VALUES)})
    assert again.succeeded().changed == {"localhost": 0}


def test_plan_with_yaml(desk: Desk, credentials: Credentials) -> None:
    text = yaml.safe_dump(credentials.with_token)
    values = {"imagePullSecret": {"password": f"{PLANTED}Another"}}
    given = {"gpu_sharing_kubeconfig": text, "gpu_operator_values": values}
    run = desk.run("plan", *MOST, "--diff", variables=given).succeeded()
    run.names("values", "imagePullSecret.password")


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
def test_verify_with_a_vaulted_mapping(desk: Desk, credentials: Credentials) -> None:
    given = {"gpu_sharing_kubeconfig": credentials.kubeconfig}
    file = desk.folder / "vault.yml"
    file.write_bytes(VAULT.encrypt(yaml.safe_dump(given)))
    desk.run("verify", *MOST, *desk.vault(), "-e", f"@{file}").succeeded()


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
def test_drift_with_vaulted_texts(desk: Desk, credentials: Credentials) -> None:
    """As AWX gives an inventory with !vault."""
    given = {
        "gpu_sharing_host": credentials.cluster["server"],
        "gpu_sharing_ca_cert": credentials.pem("certificate-authority"),
        "gpu_sharing_api_key": credentials.token,
    }
    sealed = {name: VAULT.encrypt(text).decode().split("\n") for name, text in given.items()}
    lines = [f"{name}: !vault |\n  " + "\n  ".join(sealed[name]) for name in sealed]
    with (desk.inventory / "group_vars" / "all.yml").open("a", encoding="utf-8") as everything:
        everything.write("\n".join(lines) + "\n")
    values = {"gpu_operator_values": VALUES}
    desk.run("drift", *MOST, *desk.vault(), variables=values).succeeded()


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
def test_doctor_with_pem(desk: Desk, credentials: Credentials) -> None:
    given = credentials.variables | {"gpu_operator_values": VALUES}
    desk.run("doctor", *MOST, variables=given).succeeded()


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
def test_rollback_with_files(desk: Desk, credentials: Credentials) -> None:
    given = credentials.files(desk.folder) | {"gpu_sharing_rollback_to": 1}
    desk.run("rollback", *VERBOSE, variables=given).succeeded()


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
def test_history_with_the_environment(desk: Desk, credentials: Credentials) -> None:
    given = credentials.files(desk.folder)
    environ = {
        "K8S_AUTH_HOST": given["gpu_sharing_host"],
        "K8S_AUTH_SSL_CA_CERT": given["gpu_sharing_ca_cert"],
        "K8S_AUTH_API_KEY": credentials.token,
    }
    desk.run("history", *MOST, environ=environ).succeeded()


def test_bootstrap_access_with_json(desk: Desk, credentials: Credentials) -> None:
    """The token that it makes is in its file only."""
    given = {
        "gpu_sharing_kubeconfig": json.dumps(credentials.kubeconfig),
        "gpu_access_accounts": ["reader"],
        "gpu_access_directory": str(desk.folder / "accounts"),
    }
    desk.lab.attempt("create", "namespace", "gpu-operator")
    desk.run("bootstrap_access", *MOST, "--diff", variables=given).succeeded()
    (file,) = (desk.folder / "accounts").glob("*reader*")
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    desk.secrets.add(document["users"][0]["user"]["token"])
    assert desk.leaks() == []


def test_validate_needs_no_credentials(desk: Desk, credentials: Credentials) -> None:
    given = credentials.variables | {"gpu_operator_values": VALUES}
    desk.run("validate", *MOST, variables=given).succeeded()


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
@pytest.mark.parametrize("way", ["token", "url"])
def test_report_of_a_prometheus_that_repeats_secrets(
    desk: Desk, credentials: Credentials, prometheus: str, way: str
) -> None:
    """The kubeconfig is one on disk, as K8S_AUTH_KUBECONFIG names it."""
    file = desk.folder / "kubeconfig"
    file.write_text(yaml.safe_dump(credentials.kubeconfig), encoding="utf-8")
    user = f"ann:{PLANTED}Url@" if way == "url" else ""
    given = {"gpu_sharing_prometheus_url": f"http://{user}{prometheus}"}
    if way == "token":
        given["gpu_sharing_prometheus_token"] = f"{PLANTED}Prometheus"
    environ = {"K8S_AUTH_KUBECONFIG": str(file)}
    desk.run("report", *MOST, variables=given, environ=environ).succeeded()
    report = json.loads((desk.folder / "out" / "report.json").read_text(encoding="utf-8"))
    assert "403" in report["clusters"][0]["notes"][0]


# Runs that fail


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
def test_site_whose_helm_repeats_values(desk: Desk, credentials: Credentials) -> None:
    """The API server rejects a value, and Helm prints it."""
    values = VALUES | {"daemonsets": {"updateStrategy": f"{PLANTED}Strategy"}}
    given = {
        "gpu_sharing_kubeconfig": json.dumps(credentials.with_token),
        "gpu_operator_values": values,
    }
    run = desk.run("site", *MOST, "--diff", variables=given)
    run.fails_with("<daemonsets.updateStrategy>", "gpu_operator_values")


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
def test_chart_repository_with_a_password(desk: Desk, credentials: Credentials) -> None:
    given = {
        "gpu_sharing_kubeconfig": credentials.with_token,
        "gpu_operator_chart_ref": "gpu-operator",
        "gpu_operator_chart_repo_url": f"http://ann:{PLANTED}Chart@127.0.0.1:1/charts",
    }
    run = desk.run("plan", *MOST, variables=given)
    run.fails_with("127.0.0.1:1", "gpu_operator_chart_repo_url")


@pytest.mark.full("another playbook", keep=1)
@pytest.mark.parametrize(("playbook", "arguments"), [("plan", QUIET), ("uninstall", MOST)])
def test_credentials_that_are_not_accepted(
    desk: Desk, credentials: Credentials, playbook: str, arguments: tuple[str, ...]
) -> None:
    token = f"{PLANTED}.Token"
    given = {
        "gpu_sharing_host": credentials.cluster["server"],
        "gpu_sharing_ca_cert": credentials.pem("certificate-authority"),
        "gpu_sharing_api_key": token,
        "gpu_operator_values": VALUES,
    }
    run = desk.run(playbook, *arguments, variables=given)
    run.fails_with(credentials.cluster["server"], 401)


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
def test_plugin_that_prints_its_secret(desk: Desk, credentials: Credentials) -> None:
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "interactiveMode": "Never",
        "command": sys.executable,
        "args": ["-c", FAILING_EXEC],
        "env": [{"name": "SECRET", "value": f"{PLANTED}Plugin"}],
    }
    given = {"gpu_sharing_kubeconfig": yaml.safe_dump(credentials.with_user(exec=plugin))}
    desk.run("doctor", *MOST, variables=given).fails_with("no login with")


WRONG: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "token as kubeconfig": ({"gpu_sharing_kubeconfig": f"{PLANTED}:x"}, "gpu_sharing_kubeconfig"),
    "proxy": ({"gpu_sharing_proxy": f"http://ann:{PLANTED}@proxy.invalid:1"}, "NO_PROXY"),
    "values": ({"gpu_operator_values": f"driver: {PLANTED}\nx: y"}, "gpu_operator_values"),
}


@pytest.mark.full("another option", keep=2)
@pytest.mark.parametrize(("variables", "named"), WRONG.values(), ids=WRONG)
def test_options_that_are_refused(
    desk: Desk, credentials: Credentials, variables: dict[str, Any], named: str
) -> None:
    given = {"gpu_sharing_kubeconfig": credentials.with_token} | variables
    desk.run("site", *MOST, variables=given).fails_with(named)


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
def test_proxy_of_the_environment_with_a_password(desk: Desk, credentials: Credentials) -> None:
    document = credentials.with_token
    document["clusters"] = [
        {
            "name": document["clusters"][0]["name"],
            "cluster": {"server": "https://api.invalid:6443", "insecure-skip-tls-verify": True},
        }
    ]
    environ = {"HTTPS_PROXY": f"http://ann:{PLANTED}Env@proxy.invalid:3128"}
    given = {"gpu_sharing_kubeconfig": document}
    desk.run("plan", *MOST, variables=given, environ=environ).fails_with("proxy.invalid:3128")


# What is left


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
def test_killed_run_leaves_nothing_to_the_next(desk: Desk, credentials: Credentials) -> None:
    file = desk.folder / "variables.json"
    file.write_text(json.dumps(READS | credentials.variables), encoding="utf-8")
    command = desk.lab.command("doctor", desk.inventory, "-e", f"@{file}")
    with subprocess.Popen(
        command,
        env=desk.lab.ansible_environ(desk.environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        desk.lab.wait_for(lambda: any(file.name == "client-key" for file in desk.left()))
        os.killpg(process.pid, signal.SIGKILL)
    keys = [file for file in desk.left() if file.name == "client-key"]
    assert [file.stat().st_mode & 0o777 for file in keys] == [0o600]
    desk.run("history", variables=credentials.variables).succeeded()
    assert [file for file in desk.left() if "gpufleet-sharing-" in str(file)] == []
    assert desk.leaks() == []


@pytest.mark.full("a whole run of another playbook, or another form of credentials")
def test_uninstall_with_yaml(desk: Desk, credentials: Credentials) -> None:
    """The last one. Helm removes a release whose values have secrets."""
    given = {"gpu_sharing_kubeconfig": yaml.safe_dump(credentials.kubeconfig)}
    desk.run("uninstall", *VERBOSE, "--diff", variables=given).succeeded()
