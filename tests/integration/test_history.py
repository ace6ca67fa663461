# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history on a real API server, and the module that lists it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import ClusterError
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import (
    namespaced,
    object_path,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.history import (
    FleetSpec,
    History,
    RevisionState,
)
from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    PROFILES,
    Lab,
    connected,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import call

NAMESPACE = "gpu-operator"
CONFIG_MAP = "device-plugin-config"
WHO = "root@awx job 42"
DESIRED = FleetSpec(
    "in_place", "default", PROFILES, {"dev-gpu-01": "dev", "dev-gpu-02": "dev", "prod-gpu-01": None}
)
FEWER = replace(DESIRED, profiles=PROFILES | {"dev": {"replicas": 6}})
WITHOUT = replace(FEWER, assignments={"dev-gpu-01": "dev"})


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> Cluster:
    lab.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    return connected(lab)


@pytest.fixture
def history(cluster: Cluster) -> History:
    """An empty one."""
    made = History(cluster, NAMESPACE, CONFIG_MAP)
    made.remove()
    return made


def objects(lab: Lab) -> dict[str, Any]:
    items = lab.json("controllerrevisions", "-n", NAMESPACE)["items"]
    return {item["metadata"]["name"]: item for item in items}


def listed(lab: Lab, **arguments: object) -> dict[str, Any]:
    return call(lab, "history_info", arguments)


def three(history: History) -> None:
    """Revision 1 and 2 are good, 3 has failed."""
    history.finish(history.begin(DESIRED, WHO), RevisionState.GOOD)
    history.finish(history.begin(FEWER, WHO), RevisionState.GOOD)
    history.finish(history.begin(WITHOUT, WHO), RevisionState.FAILED)


def test_revision_is_written_listed_and_closed(lab: Lab, history: History) -> None:
    lab.forget_requests()
    revision = history.begin(DESIRED, WHO)
    assert history.load() == [revision]
    ended = history.finish(revision, RevisionState.GOOD)
    assert history.load() == [ended]
    list_ = f"/apis/apps/v1/namespaces/{NAMESPACE}/controllerrevisions"
    manager = "fieldManager=gpufleet.sharing"
    assert lab.writes() == [
        f"create {list_}?{manager}",
        f"patch {list_}/{CONFIG_MAP}-1?{manager}",
    ]
    (stored,) = objects(lab).values()
    assert stored["revision"] == 1
    assert stored["data"]["assignments"] == {
        "": ["prod-gpu-01"],
        "dev": ["dev-gpu-01", "dev-gpu-02"],
    }
    assert stored["metadata"]["annotations"]["gpufleet.sharing/who"] == WHO
    assert stored["metadata"]["labels"]["gpufleet.sharing/history"] == CONFIG_MAP


def test_run_with_the_same_continues_and_writes_nothing_once_it_is_good(
    lab: Lab, history: History
) -> None:
    history.begin(DESIRED, "killed")
    good = history.finish(history.begin(DESIRED, WHO), RevisionState.GOOD)
    lab.forget_requests()
    assert history.begin(DESIRED, "third") == good
    history.prune()
    assert lab.writes() == []
    assert list(objects(lab)) == [f"{CONFIG_MAP}-1"]


def test_notes_change_beside_texts_of_every_kind(lab: Lab, history: History) -> None:
    """The API server compares the data with what its own encoder makes of it."""
    text = "# é \u2028 \U0001f600 <&> \t \b \x7f \\ \" '\nversion: v1\n"
    odd = replace(DESIRED, profiles={"default": text, "z": {"replicas": 2}, "a": {"x": 1.50}})
    good = history.finish(history.begin(odd, WHO), RevisionState.GOOD)
    assert history.load() == [good]
    assert good.spec.profiles["default"] == text
    lab.kubectl("annotate", "controllerrevision", f"{CONFIG_MAP}-1", "-n", NAMESPACE, "theirs=1")


def test_data_cannot_be_changed(cluster: Cluster, history: History) -> None:
    history.begin(DESIRED, WHO)
    list_ = namespaced("controllerrevisions", NAMESPACE, "apis/apps/v1")
    path = object_path(list_, f"{CONFIG_MAP}-1")
    with pytest.raises(ClusterError) as caught:
        cluster.patch(path, {"data": {"mode": "versioned"}})
    assert caught.value.status == 422


def test_old_ones_are_pruned_and_good_ones_stay(lab: Lab, history: History) -> None:
    for replicas in range(2, 9):
        desired = replace(DESIRED, profiles=PROFILES | {"dev": {"replicas": replicas}})
        state = RevisionState.GOOD if replicas < 5 else RevisionState.FAILED
        history.finish(history.begin(desired, WHO), state)
    assert history.prune(3) == [4, 1]
    assert sorted(objects(lab)) == [f"{CONFIG_MAP}-{number}" for number in (2, 3, 5, 6, 7)]


def test_what_was_found_can_be_gone_back_to(lab: Lab, history: History) -> None:
    found = replace(DESIRED, profiles={"default": "version: v1\n"})
    history.record_found(found, WHO)
    history.begin(DESIRED, WHO)
    result = listed(lab, revision="previous_good")
    assert result["revision"]["revision"] == 1
    assert result["revision"]["profiles"] == {"default": "version: v1\n"}
    assert result["revisions"][1]["what"] not in ("", result["revisions"][0]["what"])


def test_module_lists_and_returns_what_the_roles_take(lab: Lab, history: History) -> None:
    three(history)
    lab.forget_requests()
    result = listed(lab, revision="previous_good")
    assert lab.writes(dry_run=True) == []
    assert result["changed"] is False
    assert result["revision"] == {
        "revision": 2,
        "state": "good",
        "mode": "in_place",
        "default_profile": "default",
        "profiles": FEWER.profiles,
        "assignments": DESIRED.assignments,
    }
    assert [(each["revision"], each["state"]) for each in result["revisions"]] == [
        (3, "failed"),
        (2, "good"),
        (1, "good"),
    ]
    assert result["revisions"][1]["what"] == "profile dev 8 -> 6 replicas"
    assert result["revisions"][1]["profiles"] == ["default", "dev", "no-sharing"]
    head, _rule, *rows = result["table"]
    assert head.split() == ["revision", "state", "when", "nodes", "who", "what"]
    assert mentions(rows[0], 3, "failed", 1, WHO, 2)  # revision, nodes, and those that left


def test_module_returns_a_number(lab: Lab, history: History) -> None:
    three(history)
    assert listed(lab, revision=1)["revision"]["profiles"] == PROFILES
    missing = listed(lab, revision="7")
    assert missing["failed"]
    assert mentions(missing["msg"], 7, 3, "failed", 2, "good", 1)  # what there is instead


def test_module_without_history_or_namespace(lab: Lab, history: History) -> None:
    for namespace in (NAMESPACE, "nowhere"):
        result = listed(lab, namespace=namespace)
        assert result["revisions"] == []
        assert "revision" not in result
    missing = listed(lab, revision="previous_good")
    assert missing["failed"]
    assert missing["msg"]


def test_5000_nodes_with_long_names_fit(lab: Lab, history: History) -> None:
    nodes = {f"gpu-{number:04}.{'x' * 40}.example.com": "dev" for number in range(5000)}
    history.begin(replace(DESIRED, assignments=nodes), WHO)
    assert history.load()[0].spec.assignments == nodes
    raw = lab.kubectl(
        "get", "--raw", f"/apis/apps/v1/namespaces/{NAMESPACE}/controllerrevisions/{CONFIG_MAP}-1"
    )
    assert len(raw) < 400_000
