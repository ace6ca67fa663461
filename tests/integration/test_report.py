# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a lab, and of a second cluster that cannot be reached."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    GROUPS,
    Lab,
    Run,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import converge

NODES = {"dev-gpu-01", "dev-gpu-02", "prod-gpu-01", "prod-gpu-02", "train-gpu-01"}
NOWHERE = "/nowhere/kubeconfig"
TOKEN = "s3cret-of-prometheus"
NAMED = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "reader"}}
ACCOUNT = (  # which may not read the history
    {
        **NAMED,
        "kind": "ClusterRole",
        "rules": [
            {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list"]},
            {"apiGroups": ["nvidia.com"], "resources": ["gpuclusters"], "verbs": ["list"]},
        ],
    },
    {
        **NAMED,
        "kind": "ClusterRoleBinding",
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "reader",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}],
    },
)


@pytest.fixture(scope="module")
def inventory(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clusters; all nodes are in the first one, and the second one is not there."""
    groups = {"all_gpus": {"children": GROUPS, "vars": {"gpu_sharing_cluster": "east"}}}
    clusters = {
        "east": {"gpu_sharing_kubeconfig": lab.environ["KUBECONFIG"]},
        "west": {"gpu_sharing_kubeconfig": NOWHERE, "gpu_sharing_allow_empty": True},
    }
    folder = write_inventory(tmp_path_factory.mktemp("report") / "two", groups, None, clusters)
    converge(lab)
    return folder


class Prometheus(BaseHTTPRequestHandler):
    """Answers every query of who has the token with 12.5 for one node, which is not mixed."""

    def do_GET(self) -> None:
        assert self.path.startswith("/api/v1/query?query=")
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.send_error(401)
            return
        series = [{"metric": {"hostname": "dev-gpu-01"}, "value": [1790000000, "12.5"]}]
        if "query=count" in self.path:
            series = []
        answer = {"status": "success", "data": {"resultType": "vector", "result": series}}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


@pytest.fixture
def prometheus() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Prometheus) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def report(lab: Lab, inventory: Path, page: Path, *arguments: str, **variables: object) -> Run:
    """Run it; it never writes to a cluster."""
    lab.forget_requests()
    given = {"gpu_sharing_report": str(page), **variables}
    run = lab.playbook("report", inventory, *arguments, variables=given)
    assert lab.writes(dry_run=True) == []
    return run


def data_of(page: Path) -> dict[str, Any]:
    found = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_cluster_that_is_not_reached_is_shown_and_fails_the_run(
    lab: Lab, inventory: Path, tmp_path: Path
) -> None:
    page = tmp_path / "new folder" / "gpus.html"
    refused = {"gpu_sharing_prometheus_url": f"http://me:{TOKEN}@127.0.0.1:9/"}
    run = report(lab, inventory, page, "-vvv", **refused).failed()
    assert TOKEN not in run.output
    run.names(1, 2).fails_with("west", NOWHERE)  # clusters
    data = data_of(page)
    assert {node["node"] for node in data["nodes"]} == NODES
    reached = {cluster["name"]: cluster["reached"] for cluster in data["clusters"]}
    assert reached == {"east": True, "west": False}
    assert mentions(data["clusters"][0]["notes"][0], "Prometheus")
    for file in page.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        text = file.read_text(encoding="utf-8")
        assert "train-gpu-01" in text or file.suffix == ".md"
        assert NOWHERE in text
        assert TOKEN not in text
    assert {file.name for file in page.parent.iterdir()} == {"gpus.html", "gpus.json", "gpus.md"}


@pytest.mark.full("two to three more runs; unit tests have the page")
def test_report_fits_the_lab_and_is_unchanged_the_second_time(
    lab: Lab, inventory: Path, tmp_path: Path
) -> None:
    page, limit = tmp_path / "gpus.html", ("--limit", "east")
    checked = report(lab, inventory, page, *limit, "--check", "--diff").succeeded()
    checked.names("+++", page.with_suffix(".md")).names(page)
    assert checked.changed == {"east": 1}
    assert list(tmp_path.glob("gpus*")) == []

    assert report(lab, inventory, page, *limit).succeeded().changed == {"east": 1}
    data = data_of(page)
    slots = {node["node"]: str(node["actual"]) for node in data["nodes"]}
    assert slots == lab.allocatable()
    totals = data["totals"]
    assert (totals["physical"], totals["expected"], totals["actual"]) == (10, 36, 36)
    groups = {group["group"]: (group["profile"], group["nodes"]) for group in data["groups"]}
    assert groups == {
        "dev_gpus": ("dev", 2),
        "prod_gpus": ("default", 2),
        "train_gpus": ("no-sharing", 1),
    }
    assert [one["state"] for one in data["revisions"]] == ["good"]
    assert data["limit"] == "east"
    assert data["clusters"][0]["findings_known"]
    assert (data["findings"], totals["used"], totals["free"]) == ([], 0, 36)

    again = report(lab, inventory, page, *limit).succeeded()
    assert again.changed == {"east": 0}
    assert data_of(page)["made"] > data["made"]


@pytest.mark.full("two to three more runs; unit tests have the page")
def test_node_that_differs_and_how_busy_nodes_are(
    lab: Lab, inventory: Path, tmp_path: Path, prometheus: str
) -> None:
    page = tmp_path / "gpus.html"
    lab.kubectl("annotate", "node", "prod-gpu-01", "lab.gpufleet.sharing/unhealthy=1")
    lab.wait_for(lambda: lab.allocatable()["prod-gpu-01"] == "7")
    lab.apply(*ACCOUNT)
    usage = {"dev-gpu-01": {"gpu_utilisation": 97.5}}
    run = report(
        lab,
        inventory,
        page,
        "-vvv",
        "--limit",
        "east,prod_gpus,dev-gpu-01",
        gpu_sharing_report_usage=usage,
        gpu_sharing_prometheus_token=TOKEN,
        gpu_sharing_prometheus_url=prometheus,
        gpu_sharing_impersonate_user="reader",
    ).succeeded()
    run.names(1, 3)  # nodes that differ
    assert TOKEN not in run.output
    data = data_of(page)
    flags = {node["node"]: node["flags"] for node in data["nodes"]}
    assert "differs" in flags["prod-gpu-01"]
    assert "busy" in flags["dev-gpu-01"]
    assert "differs" not in flags["prod-gpu-02"]
    memory = {node["node"]: node["memory"] for node in data["nodes"]}
    assert memory == {"dev-gpu-01": 12.5, "prod-gpu-01": None, "prod-gpu-02": None}
    (note,) = data["clusters"][0]["notes"]
    assert mentions(note, "revisions")
    assert data["revisions"] == []
    found = [place["nodes"] for one in data["findings"] for place in one["occurrences"]]
    assert ["prod-gpu-01"] in found
    lab.kubectl("annotate", "node", "prod-gpu-01", "lab.gpufleet.sharing/unhealthy-")
