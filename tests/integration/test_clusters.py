# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clusters in one inventory, and every form of --limit."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    Lab,
    Run,
    boot,
    shut_down,
    write_inventory,
)

NODES = ("dev-gpu-01", "dev-gpu-02", "prod-gpu-01", "prod-gpu-02", "train-gpu-01")
DEV = ("dev-gpu-01", "dev-gpu-02")
UNUSABLE = {  # what an inventory may hold for other plays, and must not matter to ours
    "ansible_connection": "ssh",
    "ansible_become": True,
    "ansible_python_interpreter": "/usr/bin/nowhere",
}


@pytest.fixture(scope="module")
def labs() -> Iterator[tuple[Lab, Lab]]:
    """Two clusters whose nodes have the same names."""
    booted = boot(f"east-{os.getpid()}"), boot(f"west-{os.getpid()}")
    yield booted
    for lab in booted:
        shut_down(lab)


@pytest.fixture
def two(labs: tuple[Lab, Lab], tmp_path: Path) -> Path:
    """prod-eu and prod-us; their nodes are called eu-… and us-… in the inventory."""
    groups = {
        f"{side}_nodes": {
            "vars": {"gpu_sharing_cluster": f"prod-{side}"},
            "children": {
                f"{side}_dev": {"hosts": {f"{side}-{n}": _named(n) for n in DEV}},
                f"{side}_rest": {
                    "hosts": {f"{side}-{n}": _named(n) for n in NODES if n not in DEV}
                },
            },
        }
        for side in ("eu", "us")
    }
    clusters = {
        f"prod-{side}": {"gpu_sharing_kubeconfig": lab.environ["KUBECONFIG"]}
        for side, lab in zip(("eu", "us"), labs, strict=True)
    }
    folder = write_inventory(tmp_path / "two", groups, UNUSABLE, clusters)
    dev = {"children": {"eu_dev": {}, "us_dev": {}}, "vars": {"gpu_sharing_profile": "dev"}}
    hosts = folder / "more.yml"

    hosts.write_text(
        yaml.safe_dump({"all": {"children": {"dev_gpus": dev, "web": {"hosts": {"web01": {}}}}}}),
        encoding="utf-8",
    )
    return folder


def _named(node: str) -> dict[str, str]:
    return {"gpu_sharing_node_name": node}


def site(labs: tuple[Lab, Lab], inventory: Path, *arguments: str) -> Run:
    """Run site with the virtual environment not in PATH and no ambient credentials."""
    first = labs[0]
    virtual = str(Path(sys.executable).parent)
    path = [entry for entry in first.environ["PATH"].split(os.pathsep) if entry != virtual]
    environ = {"PATH": os.pathsep.join(path), "KUBECONFIG": None}
    return first.playbook("site", inventory, *arguments, environ=environ).succeeded()


def test_site_does_two_clusters_in_one_run(labs: tuple[Lab, Lab], two: Path) -> None:
    run = site(labs, two)
    assert len(run.naming(5, 10, 48)) == 2  # nodes, GPUs and slots of each
    for lab in labs:
        assert lab.labels() == dict.fromkeys(DEV, "dev")
        assert lab.allocatable()["dev-gpu-01"] == "8"


@pytest.mark.full("unit tests have all limits", keep=1)
@pytest.mark.parametrize(
    ("limit", "east", "west"),
    [
        ("prod-eu", 5, 0),
        ("prod-eu,dev_gpus", 2, 0),
        ("prod-eu,eu-dev-gpu-01", 1, 0),
        ("prod-eu,prod-us,dev_gpus", 2, 2),
        ("prod-eu,gpu_nodes,!eu-dev-gpu-01", 4, 0),
        ("gpu_clusters", 5, 5),
        ("@{file}", 1, 0),
    ],
)
def test_limit_that_selects(
    labs: tuple[Lab, Lab], two: Path, tmp_path: Path, limit: str, east: int, west: int
) -> None:
    """By the first task, which every playbook has."""
    file = tmp_path / "limit"
    file.write_text("prod-eu\neu-dev-gpu-02\n", encoding="utf-8")
    run = labs[0].playbook("validate", two, "-v", "--limit", limit.format(file=file)).succeeded()
    parts = [json.loads(found["nodes"]) for found in run.answers.results if "limited" in found]
    selected = [node["host"] for part in parts for node in part if node["selected"]]
    assert sum(host.startswith("eu-") for host in selected) == east
    assert sum(host.startswith("us-") for host in selected) == west


@pytest.mark.full("unit tests have all limits", keep=1)
@pytest.mark.parametrize(
    ("limit", "named"),
    [
        ("dev_gpus", ["prod-eu,prod-us,dev_gpus"]),  # the limit to use instead
        ("eu-dev-gpu-01", ["prod-eu,eu-dev-gpu-01"]),
        ("prod-eu:!eu-dev-gpu-01", ["prod-eu,gpu_nodes,!eu-dev-gpu-01"]),
        ("prod-eu,us_dev", ["us-dev-gpu-01", "us-dev-gpu-02", "prod-eu"]),
        ("web01", ["web01", "gpu_clusters", "gpu_nodes"]),
        ("prod-eu,web01", ["web01", "gpu_clusters", "gpu_nodes"]),
    ],
)
def test_limit_that_is_refused(
    labs: tuple[Lab, Lab], two: Path, limit: str, named: list[str]
) -> None:
    """By the first task, which every playbook has."""
    run = labs[0].playbook("validate", two, "--limit", limit, environ={"KUBECONFIG": None})
    run.fails_with("--limit", *named)


@pytest.mark.full("Ansible itself refuses it")
def test_limit_that_selects_nothing_at_all(labs: tuple[Lab, Lab], two: Path) -> None:
    """Ansible itself stops before the first task."""
    limit = ("--limit", "prod-eu:&dev_gpus")
    run = labs[0].playbook("validate", two, *limit, environ={"KUBECONFIG": None}).failed()
    assert run.answers.results == []
    assert run.changed == {}


@pytest.mark.full("unit tests have all limits")
def test_every_playbook_refuses_a_limit_without_a_cluster(labs: tuple[Lab, Lab], two: Path) -> None:
    for name in ("site", "uninstall"):
        run = labs[0].playbook(name, two, "--limit", "dev_gpus", environ={"KUBECONFIG": None})
        run.fails_with("--limit", "prod-eu,prod-us,dev_gpus")


@pytest.mark.full("unit tests have all limits")
def test_file_with_a_subtraction_is_refused(
    labs: tuple[Lab, Lab], two: Path, tmp_path: Path
) -> None:
    file = tmp_path / "limit"
    file.write_text("prod-eu\n!eu-dev-gpu-01\n", encoding="utf-8")
    labs[0].playbook("site", two, "--limit", f"@{file}", environ={"KUBECONFIG": None}).failed()


@pytest.mark.full("another case of clusters")
def test_limit_never_takes_labels_from_hidden_nodes_and_uninstalls_labels_only(
    labs: tuple[Lab, Lab], two: Path
) -> None:
    exclusive = {"gpu_nodes_exclusive": True, "gpu_profiles_prune": True}
    limit = ("--limit", "prod-eu,eu-dev-gpu-01")
    labs[0].playbook(
        "site", two, *limit, variables=exclusive, environ={"KUBECONFIG": None}
    ).succeeded()
    assert labs[0].labels() == dict.fromkeys(DEV, "dev")
    labs[0].playbook("uninstall", two, *limit, environ={"KUBECONFIG": None}).succeeded()
    assert labs[0].labels() == {"dev-gpu-02": "dev"}
    config_map = labs[0].json("configmap", "device-plugin-config", "-n", "gpu-operator")
    assert "dev" in config_map["data"]
    assert labs[0].json("clusterpolicies")["items"]


@pytest.mark.full("another case of clusters")
def test_change_that_would_reach_nodes_outside_the_limit_is_refused(
    labs: tuple[Lab, Lab], two: Path
) -> None:
    east = labs[0]
    east.forget_requests()
    changed = {"gpu_sharing_profiles": {"default": {"replicas": 4}, "dev": {"replicas": 6}}}
    run = east.playbook(
        "site",
        two,
        "--limit",
        "prod-eu,eu-dev-gpu-01",
        variables=changed,
        environ={"KUBECONFIG": None},
    )
    run.fails_with("dev", "--limit", "dev-gpu-02")
    assert east.writes() == []


@pytest.mark.full("another case of clusters")
def test_doctor_tells_each_cluster_by_itself(labs: tuple[Lab, Lab], two: Path) -> None:
    """In prod-eu the test before took a label away."""
    environ = {"KUBECONFIG": None, "ANSIBLE_SHOW_CUSTOM_STATS": "true"}
    run = labs[0].playbook("doctor", two, environ=environ).failed()
    run.names("prod-eu", 1, 5).names("prod-us", 5)  # errors and nodes
    told = {
        cluster: {each["code"]: each["nodes"] for each in said["findings"] if not each["follows"]}
        for cluster, said in run.stats("gpu_sharing_doctor").items()
    }
    assert told == {"prod-eu": {"GS024": ["dev-gpu-01"]}, "prod-us": {}}


@pytest.mark.full("test_report has an unreachable cluster")
@pytest.mark.parametrize(
    ("name", "named"),
    [("verify", [5, 10, 48]), ("doctor", [5])],
)
def test_one_unreachable_cluster_fails_alone(
    labs: tuple[Lab, Lab], two: Path, name: str, named: list[object]
) -> None:
    missing = two / "host_vars"
    missing.mkdir()
    (missing / "prod-eu.yml").write_text("gpu_sharing_kubeconfig: /nowhere\n", encoding="utf-8")
    run = labs[1].playbook(name, two, environ={"KUBECONFIG": None}).failed()
    run.fails_with("/nowhere").names(*named)
    assert "fatal: [prod-eu]" in run.output


@pytest.mark.full("another case of clusters")
def test_cluster_that_hangs_delays_no_other(labs: tuple[Lab, Lab], tmp_path: Path) -> None:
    """Two clusters and one whose API server accepts connections and never answers, with two forks.
    It hangs until the two have their plans.
    """
    by_name = dict(zip(("one", "two"), labs, strict=True))
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        server = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        stuck = {"gpu_sharing_host": server, "gpu_sharing_api_key": "sesame"}
        working = {
            name: {"gpu_sharing_kubeconfig": lab.environ["KUBECONFIG"]}
            for name, lab in by_name.items()
        }
        groups = {
            f"of_{name}": {
                "vars": {"gpu_sharing_cluster": name},
                "hosts": {f"{name}-node": {"gpu_sharing_node_name": "dev-gpu-01"}},
            }
            for name in ("a-stuck", *by_name)
        }
        clusters = {"a-stuck": stuck, **working}
        folder = write_inventory(tmp_path / "three", groups, None, clusters)
        environ = {"KUBECONFIG": None, "ANSIBLE_FORKS": "2"}
        with subprocess.Popen(
            labs[1].command("plan", folder),
            env=labs[1].ansible_environ(environ),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            lines, left, task = [], set(by_name), ""
            for line in process.stdout or ():
                lines.append(line)
                task = line if line.startswith("TASK") else task
                if "Show the plan" in task:
                    left -= {name for name in left if line.startswith(f"ok: [{name}]")}
                if not left:
                    hanging.close()  # so that its requests fail
    run = Run(process.returncode, "".join(lines)).failed()
    assert run.output.index("fatal: [a-stuck]") > run.output.rindex("Show the plan")
    run.fails_with(server)


@pytest.mark.parametrize(
    "playbook", ["site", pytest.param("uninstall", marks=pytest.mark.full("as site"))]
)
def test_two_names_of_one_cluster(
    labs: tuple[Lab, Lab], two: Path, tmp_path: Path, playbook: str
) -> None:
    """Both are refused before either has written, whatever the connection looks like."""
    lab, copy = labs[0], tmp_path / "copy"
    copy.write_text(Path(lab.environ["KUBECONFIG"]).read_text("utf-8"), encoding="utf-8")
    same = {"us": {"gpu_sharing_kubeconfig": str(copy)}}
    (two / "host_vars").mkdir(exist_ok=True)
    (two / "host_vars" / "prod-us.yml").write_text(json.dumps(same["us"]), encoding="utf-8")
    lab.forget_requests()
    run = lab.playbook(playbook, two)
    run.fails_with("prod-eu", "prod-us", "kube-system", "gpu_sharing_context")
    assert run.output.count("fatal: [") == 2
    assert lab.writes(dry_run=True) == []


def test_clusters_with_one_connection(labs: tuple[Lab, Lab], two: Path) -> None:
    """As with a credential of AWX for several clusters."""
    lab = labs[0]
    both = json.dumps({"gpu_sharing_kubeconfig": lab.environ["KUBECONFIG"]})
    lab.forget_requests()
    run = lab.playbook("site", two, "-e", both)
    run.fails_with("prod-eu, prod-us", "gpu_sharing_kubeconfig", "gpu_sharing_context")
    assert lab.writes(dry_run=True) == []
    lab.playbook("validate", two, "--limit", "prod-eu", "-e", both).succeeded()


@pytest.mark.full("another case of clusters")
def test_inventory_without_its_cluster_is_refused(
    labs: tuple[Lab, Lab], two: Path, tmp_path: Path
) -> None:
    groups = {"dev_gpus": {"hosts": {"dev-gpu-01": {"gpu_sharing_cluster": "prod-mars"}}}}
    lonely = write_inventory(tmp_path / "lonely", groups, None, {"prod-eu": {}})
    run = labs[0].playbook("site", lonely)
    run.fails_with("dev-gpu-01", "gpu_sharing_cluster", "prod-mars", "gpu_clusters", "prod-eu")
    empty = write_inventory(tmp_path / "empty", groups, None, {})
    labs[0].playbook("site", empty).fails_with("gpu_clusters")
