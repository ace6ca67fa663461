# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the rollout: what it refuses before it writes, what it writes, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    FleetError,
    LeaseError,
    ProfileError,
    RefusedError,
    SharingError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.lease import Lease
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    checked_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout import (
    gpu_pods,
    pending,
    run,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import Desired
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.history import (
    History,
    latest,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.outcome import STOPPED
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.run import (
    Request,
    RolloutRun,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.settings import Settings
from ansible_collections.gpufleet.sharing.plugins.modules import rollout
from ansible_collections.gpufleet.sharing.tests.unit import fake_fleet
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers
from ansible_collections.gpufleet.sharing.tests.unit.fake_fleet import (
    GPU,
    HASH,
    LABEL,
    MAP,
    NODES,
    SETTINGS,
    FakeFleet,
    asked_node,
)

REVISIONS = "/apis/apps/v1/namespaces/gpu-operator/controllerrevisions"
DAEMONSETS = "/apis/apps/v1/namespaces/gpu-operator/daemonsets"
NAMES = ["n1", "n2", "n3"]
OLD: Mapping[str, object] = {"default": {"replicas": 2}, "dev": {"replicas": 8}}
NEW: Mapping[str, object] = {"default": {"replicas": 2}, "dev": {"replicas": 6}}
Assignments = Mapping[str, str | None]


@dataclass
class Scene:
    """A fleet of which one revision has been rolled out, as site does it."""

    fleet: FakeFleet = field(default_factory=FakeFleet)
    lines: list[str] = field(default_factory=list)

    def request(
        self,
        definitions: Mapping[str, object],
        assignments: Assignments | None = None,
        *,
        versioned: bool = False,
        **changed: Any,
    ) -> Request:
        wanted = dict.fromkeys(NAMES, "dev") if assignments is None else assignments
        profiles = checked_profiles(definitions)
        desired = Desired(profiles, "default", wanted, versioned)
        given = Request(desired, definitions, list(wanted), False, False, SETTINGS, run="me")
        return replace(given, **changed)

    def look(self, request: Request) -> RolloutRun:
        return RolloutRun(fake_fleet.cluster(self.fleet), request, self.lines.append)

    def run(self, request: Request) -> dict[str, object]:
        """Keys, then nodes. What the module returns."""
        versioned = request.desired.versioned
        if versioned and "default" not in self.fleet.api.objects.get(MAP, {}).get("data", {}):
            self.fleet.write({"default": request.desired.profiles["default"]})
        self.fleet.write(request.desired.profiles, versioned=versioned)
        self.fleet.settle(600)
        found = self.look(request)
        found.execute()
        return found.result()

    def fails(self, request: Request) -> str:
        with pytest.raises(SharingError) as caught:
            self.run(request)
        return str(caught.value)

    def history(self) -> list[tuple[int, str]]:
        """Numbers and states, newest first."""
        revisions = self.history_of.load()
        return [(each.number, each.state.value) for each in revisions]

    @property
    def history_of(self) -> History:
        cluster = fake_fleet.cluster(self.fleet)
        return History(cluster, "gpu-operator", "device-plugin-config")

    def writes(self) -> list[str]:
        """All but the lease's."""
        return [line for line in self.fleet.api.writes() if "/leases" not in line]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    found = Scene()

    def live(*_arguments: object) -> FakeFleet:
        found.fleet.refresh_config_map()
        found.fleet.pods_are_read = False
        return found.fleet

    monkeypatch.setattr(run, "LiveFleet", live)
    found.fleet.write({"default": checked_profiles(OLD)["default"]})
    found.fleet.settle(10)
    found.fleet.add(*NAMES)
    found.fleet.settle(10)
    return found


@pytest.fixture
def done(scene: Scene) -> Scene:
    """The old revision has been brought about."""
    scene.run(scene.request(OLD))
    scene.fleet.api.requests.clear()
    scene.lines.clear()
    return scene


def test_first_run(scene: Scene) -> None:
    result = scene.run(scene.request(OLD))
    assert scene.fleet.slots(*NAMES) == [16] * 3
    assert scene.history() == [(1, "good")]
    assert (result["changed"], result["revision"], result["unsettled"]) == (True, 1, {})
    assert result["changes"] == [{"node": node, "before": None, "after": "dev"} for node in NAMES]
    assert result["batches"] == [["n1"], ["n2", "n3"]]


@pytest.mark.parametrize("versioned", [True, False])
def test_run_again_writes_nothing(scene: Scene, versioned: bool) -> None:
    scene.run(scene.request(OLD, versioned=versioned))
    scene.fleet.api.requests.clear()
    result = scene.run(scene.request(OLD, versioned=versioned))
    assert scene.writes() == []
    assert result["changed"] is False
    assert len(cast("list[str]", result["table"])) == 1
    assert result["diff"] == {"before": {}, "after": {}}
    assert "revision" not in result


def test_plan_tells_and_writes_nothing(done: Scene) -> None:
    found = done.look(done.request(NEW, planning=True))
    result = found.result()
    assert done.writes() == []
    assert found.differs
    assert result["restarted"] == NAMES
    assert result["unfinished"] is True
    assert result["diff"] == {
        "before": dict.fromkeys(NAMES, f"dev: 16 {GPU}"),
        "after": dict.fromkeys(NAMES, f"dev: 12 {GPU} (restart)"),
    }
    nodes = result["nodes"]
    assert isinstance(nodes, list)
    assert [(row["node"], row["batch"], row["step"]) for row in nodes] == [
        ("n1", 1, "restart"),
        ("n2", 2, "restart"),
        ("n3", 2, "restart"),
    ]


def test_change_is_a_new_revision(done: Scene) -> None:
    result = done.run(done.request(NEW))
    assert done.fleet.slots(*NAMES) == [12] * 3
    assert done.history() == [(2, "good"), (1, "good")]
    assert result["revision"] == 2


@pytest.mark.parametrize("modes", [(False, False), (True, True), (False, True), (True, False)])
def test_change_that_fails_goes_back(scene: Scene, modes: tuple[bool, bool]) -> None:
    scene.run(scene.request(OLD, versioned=modes[0]))
    text = to_plugin_config(checked_profiles(NEW)["dev"])
    scene.fleet.refuses = lambda node, loaded: node == "n3" and loaded == text
    message = scene.fails(scene.request(NEW, versioned=modes[1]))
    assert 3 in numbers(message.splitlines()[-2])  # nodes that are back
    assert scene.fleet.slots(*NAMES) == [16] * 3
    assert scene.history() == [(2, "failed"), (1, "good")]
    # The inventory goes back too: there is nothing to do but to say so.
    again = scene.run(scene.request(OLD, versioned=modes[0]))
    assert (again["batches"], again["revision"]) == ([], 3)
    assert scene.history()[0] == (3, "good")
    assert scene.run(scene.request(OLD, versioned=modes[0]))["changed"] is False


def test_change_that_may_fail_on_some_is_not_good(done: Scene) -> None:
    text = to_plugin_config(checked_profiles(NEW)["dev"])
    done.fleet.refuses = lambda node, loaded: node == "n1" and loaded == text
    result = done.run(done.request(NEW, settings=replace(SETTINGS, max_failures=1)))
    unsettled = result["unsettled"]
    assert isinstance(unsettled, dict)
    assert list(unsettled) == ["n1"]
    assert done.history()[0] == (2, "failed")
    # Its cause is mended: the same revision is brought to its end.
    done.fleet.refuses = lambda _node, _text: False
    done.fleet.restart("n1")
    done.run(done.request(NEW))
    assert done.history() == [(2, "good"), (1, "good")]


def test_run_that_was_killed_is_continued(done: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    done.fleet.on_wait = [*[lambda: None] * 12, kill]
    with pytest.raises(Killed):
        done.run(done.request(NEW))
    assert done.history() == [(2, "started"), (1, "good")]
    done.fleet.on_wait.clear()
    request = done.request(NEW)
    assert done.look(request).result()["unfinished"] is True
    assert done.run(request)["revision"] == 2
    assert done.fleet.slots(*NAMES) == [12] * 3
    assert done.history() == [(2, "good"), (1, "good")]


def test_run_that_was_killed_leaves_cordons(done: Scene) -> None:
    mark = {"gpufleet.sharing/cordoned": "true"}
    done.fleet.edit("n2", annotations=mark)
    done.fleet.api.patch(f"{NODES}/n2", {"spec": {"unschedulable": True}})
    found = done.look(done.request(OLD, planning=True))
    assert found.differs
    diff = cast("dict[str, dict[str, str]]", found.result()["diff"])
    ((node, before),), ((same, after),) = diff["before"].items(), diff["after"].items()
    assert (node.split()[0], node, before, after) == ("n2", same, "cordoned", "")
    assert done.run(done.request(OLD))["uncordoned"] == ["n2"]
    written = done.fleet.api.objects[f"{NODES}/n2"]
    assert "unschedulable" not in written["spec"]
    assert "gpufleet.sharing/cordoned" not in written["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"assignments": {"n1": "prod"}}, ("O(profile)", "n1", "'prod'")),
        ({"default": "base"}, ("O(default_profile)", "'base'")),
    ],
)
def test_undefined_profile_is_refused_before_the_cluster_is_asked(
    done: Scene, changed: dict[str, Any], facts: tuple[str, ...]
) -> None:
    request = done.request(OLD, changed.get("assignments"))
    desired = replace(request.desired, default_profile=changed.get("default", "default"))
    with pytest.raises(FleetError) as caught:
        done.look(replace(request, desired=desired))
    assert mentions(caught.value, *facts)
    assert done.fleet.api.requests == []


def test_nodes_that_are_missing(done: Scene) -> None:
    wanted = {**dict.fromkeys(NAMES, "dev"), "n9": "dev"}
    with pytest.raises(FleetError, match=r"\b1\b.*\bn9\b"):
        done.look(done.request(OLD, wanted, needs_all=True))
    result = done.look(done.request(OLD, wanted)).result()
    assert (result["missing"], result["unavailable"]) == (["n9"], ["n9"])


def test_nodes_that_go_are_told(done: Scene) -> None:
    done.fleet.on_wait = [lambda: None, lambda: done.fleet.set_ready("n3", ready=False)]
    result = done.run(done.request(NEW))
    assert result["unavailable"] == ["n3"]
    assert done.fleet.slots(*NAMES) == [12, 12, 16]


def test_limit_keeps_what_others_were_asked_to_be(done: Scene) -> None:
    request = done.request(OLD, {"n1": "default"}, known_nodes=NAMES)
    done.run(request)
    newest = latest(done.history_of.load())
    assert newest
    assert newest.spec.assignments == {"n1": "default", "n2": "dev", "n3": "dev"}
    assert done.fleet.slots(*NAMES) == [4, 16, 16]


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("exclusive", [True, False])
def test_unmanaged_nodes(scene: Scene, versioned: bool, exclusive: bool) -> None:
    """They lose their label where asked for; what the default says now is last to come there."""
    scene.run(scene.request(OLD, versioned=versioned))
    scene.fleet.add("x1", label="default")
    new = {"default": {"replicas": 3}, "dev": {"replicas": 8}}
    request = scene.request(new, versioned=versioned, exclusive=exclusive)
    result = scene.run(request)
    assert result["unmanaged"] == ["x1"]
    assert scene.fleet.node("x1").labels.get(LABEL) == (None if exclusive else "default")
    old = versioned or not exclusive
    assert scene.fleet.slots("x1") == [4 if old else 6]
    assert scene.history()[0][1] == "good"


@pytest.mark.parametrize(
    ("version", "label"), [("v0.18.1", "default"), ("v0.18.2", None), (None, None)]
)
def test_label_is_taken_away_only_where_the_plugin_notices(
    done: Scene, version: str | None, label: str | None
) -> None:
    if version:
        app = "nvidia-device-plugin-daemonset"
        container = {
            "name": "nvidia-device-plugin",
            "image": f"nvcr.io/nvidia/k8s-device-plugin:{version}",
            "env": [{"name": "MIG_STRATEGY", "value": "single"}],
        }
        template = {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]}}
        done.fleet.api.put(f"{DAEMONSETS}/{app}", {"spec": {"template": template}})
    done.run(done.request(OLD, dict.fromkeys(NAMES)))
    assert [done.fleet.node(node).labels.get(LABEL) for node in NAMES] == [label] * 3
    assert done.fleet.slots(*NAMES) == [4] * 3
    assert done.run(done.request(OLD, dict.fromkeys(NAMES)))["changed"] is False


DEV = asked_node("n1", "dev")


def asked(**given: object) -> Request:
    """What the module reads of its options."""
    defaults = {name: option.get("default") for name, option in rollout.SPEC.items()}
    required = {"nodes": [DEV], "profiles": OLD, "default_profile": "default"}
    module: Any = SimpleNamespace(params={**defaults, **required, **given}, check_mode=False)
    return rollout.read_request(module)


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ({"max_failures": -1}, ("max_failures", "-1", "0")),
        ({"timeout": 0}, ("timeout", "0", "1")),
        ({"stable_seconds": -1}, ("stable_seconds", "-1", "0")),
        ({"nodes": [DEV, DEV]}, ("O(nodes)", "n1", "2")),
        ({"nodes": [{**DEV, "gpus": 0}]}, ("O(gpus)", "n1", "0")),
    ],
)
def test_options_that_nobody_can_mean_are_refused(
    given: dict[str, Any], facts: tuple[str, ...]
) -> None:
    """With -1 failures allowed, a rollout without any was taken back."""
    with pytest.raises(FleetError) as caught:
        asked(**given)
    assert mentions(caught.value, *facts)


def test_options_are_read() -> None:
    nodes = [
        asked_node("n1", "dev", gpus=8, group="rack"),
        asked_node("n2", "", gpus=4),
        asked_node("n3"),
        asked_node("n4", "dev", gpus=2, group="rack", selected=False),
    ]
    request = asked(
        nodes=nodes,
        mode="versioned",
        unavailable_nodes="fail",
    )
    assert request.desired.assignments == {"n1": "dev", "n2": None, "n3": None}
    assert request.desired.gpus == {"n1": 8, "n2": 4}
    assert (request.desired.groups, request.desired.versioned) == ({"n1": "rack"}, True)
    assert list(request.known_nodes) == ["n1", "n2", "n3", "n4"]
    assert (request.needs_all, request.planning) == (True, False)
    settings = request.settings
    assert (settings.drain, settings.on_failure, settings.batches) == (
        "refuse",
        "rollback",
        ["1", "25%"],
    )


@pytest.mark.parametrize("name", ["x" * 54, "x" * 55])
def test_name_that_leaves_no_room_for_its_version_is_refused(name: str) -> None:
    profiles = {**OLD, name: {"replicas": 2}}
    assert asked(profiles=profiles).desired.profiles[name].replicas == 2
    if len(name) == 54:
        assert asked(profiles=profiles, mode="versioned").desired.versioned
        return
    with pytest.raises(ProfileError) as caught:
        asked(profiles=profiles, mode="versioned")
    assert mentions(caught.value, name, 54, 55)


# ---- pods that would be disrupted


def busy(scene: Scene, *, owned: bool = True) -> None:
    scene.fleet.workload("busy", "n2", 14)
    if not owned:
        path = "/api/v1/namespaces/work/pods/busy"
        scene.fleet.api.objects[path]["metadata"]["ownerReferences"] = []


def drains(how: str) -> Settings:
    return replace(SETTINGS, drain=how)


@pytest.mark.parametrize("flag", ["migStrategy: none", "failOnInitError: true"])
def test_fleet_of_nvidias_guide_is_adopted_without_a_restart(flag: str) -> None:
    """Its files have flags that the operator's environment overrides."""
    fleet = FakeFleet()
    shares = "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}"
    file = f"version: v1\nflags: {{{flag}}}\n{shares}\n"
    metadata = {"name": "device-plugin-config", "creationTimestamp": "2025-01-01T00:00:00Z"}
    fleet.api.put(MAP, {"metadata": metadata, "data": {"default": file}})
    fleet.default = "default"
    fleet.refresh_config_map()
    fleet.settle(10)
    fleet.add(*NAMES)
    fleet.settle(10)
    found = Scene(fleet)
    definitions = {"default": {"replicas": 4, "fail_requests_greater_than_one": False}}
    request = found.request(definitions, dict.fromkeys(NAMES))
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(run, "LiveFleet", lambda *_arguments: fleet)
        result = found.run(request)
    assert (result["restarted"], result["recorded"]) == ([], NAMES)
    assert fleet.api.objects[MAP]["data"] == {"default": file}  # it stays its owner's
    assert not [line for line in found.writes() if line.startswith("DELETE")]


def test_nodes_that_others_work_on_are_named(done: Scene) -> None:
    label = "nvidia.com/gpu.deploy.device-plugin"
    done.fleet.edit("n1", labels={label: "paused-for-driver-upgrade"})
    done.fleet.set_ready("n2", ready=False)
    result = done.run(done.request(NEW))
    assert result["unavailable"] == ["n1", "n2"]
    assert result["maintenance"] == {"n1": f"{label} is paused-for-driver-upgrade"}
    first, second = cast("list[str]", result["notes"])
    assert mentions(first, "n2", "NotReady")
    assert mentions(second, "n1", label)
    assert done.fleet.slots(*NAMES) == [16, 16, 12]
    again = done.look(done.request(NEW, planning=True)).result()
    assert (again["differs"], again["unavailable"]) == (False, ["n1", "n2"])


def test_disruption_is_refused_before_any_write(done: Scene) -> None:
    busy(done)
    done.fleet.write(checked_profiles(NEW))
    done.fleet.api.requests.clear()
    with pytest.raises(RefusedError) as caught:
        done.look(done.request(NEW))
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["n2"]
    assert mentions(caught.value, "work", "n2", "O(drain)")
    with pytest.raises(RefusedError):
        done.look(done.request(NEW, planning=True))
    with pytest.raises(RefusedError):
        done.look(done.request(NEW, explain=True))
    assert done.writes() == []


def test_disruption_is_refused_while_the_plugin_is_down(done: Scene) -> None:
    """Nothing is advertised then, which is when people run site to repair."""
    two = {**OLD, "dev": {"replicas": 2}}
    for name in ("p", "q", "r"):
        done.fleet.workload(name, "n1", 2)
    done.fleet.refuses = lambda node, _text: node == "n1"
    done.fleet.restart("n1")
    done.fleet.settle(10)
    assert done.fleet.slots("n1") == [0]
    told = done.fails(done.request(two))
    assert mentions(told, "n1", "work", GPU)
    assert done.writes() == []
    assert done.fails(done.request(OLD)).count("did not settle") == 1  # a repair is not refused


def test_disruption_is_refused_while_gpus_are_not_counted(done: Scene) -> None:
    """Labels of GPU feature discovery are gone for a minute after it has restarted."""
    busy(done)
    done.fleet.write(checked_profiles(NEW))
    done.fleet.edit("n2", labels={"nvidia.com/gpu.count": None})
    with pytest.raises(RefusedError) as caught:
        done.look(done.request(NEW))
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["n2"]


def test_plan_of_many_nodes_does_not_ask_for_pods_node_by_node(
    done: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(done)
    monkeypatch.setattr(gpu_pods, "ONE_BY_ONE", 1)
    done.fleet.api.requests.clear()
    result = done.look(done.request(NEW, planning=True, explain=True)).result()
    assert len(cast("list[object]", result["nodes"])) > 2
    assert done.fleet.api.requests.count("GET /api/v1/pods") == 2


def test_disruption_is_explained_in_a_plan(done: Scene) -> None:
    busy(done)
    done.fleet.workload("calm", "n3", 2)
    result = done.look(done.request(NEW, planning=True, explain=True)).result()
    disruptions = result["disruptions"]
    assert isinstance(disruptions, list)
    assert [(pod["node"], pod["pod"], pod["owner"]) for pod in disruptions] == [
        ("n2", "busy", "Job/train")
    ]
    table = result["disruption_table"]
    assert isinstance(table, list)
    assert len(table) == 3
    nodes = result["nodes"]
    assert isinstance(nodes, list)
    assert [(row["pods"], row["disrupted"]) for row in nodes] == [(0, 0), (1, 1), (1, 0)]


@pytest.mark.parametrize(
    ("how", "owned", "warned"),
    [
        ("evict", True, ()),
        ("evict", False, ("work/busy",)),
        ("ignore", True, ("O(drain)", "ignore", "n2", "work")),
    ],
)
def test_disruption_is_warned_of(
    done: Scene, how: str, owned: bool, warned: tuple[str, ...]
) -> None:
    busy(done, owned=owned)
    found = done.look(done.request(NEW, settings=drains(how), planning=True))
    assert len(found.warnings) == bool(warned)
    assert mentions("\n".join(found.warnings), *warned)


def test_evicted_pods_are_told(done: Scene) -> None:
    busy(done)
    result = done.run(done.request(NEW, settings=drains("evict")))
    assert result["evicted"] == ["work/busy"]
    assert done.fleet.slots(*NAMES) == [12] * 3


def test_pods_that_stay_pending_after_evictions_are_told(
    done: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "SCHEDULING", 0.0)
    busy(done)
    done.fleet.workload("again", "", 14)  # what the Job makes of it
    path = "/api/v1/namespaces/work/pods/again"
    condition = {"type": "PodScheduled", "status": "False", "message": "no room"}
    done.fleet.api.patch(path, {"status": {"phase": "Pending", "conditions": [condition]}})
    result = done.run(done.request(NEW, settings=drains("evict")))
    waits = {"namespace": "work", "owner": "Job/train", "pods": 1, "reason": "no room"}
    assert result["pending"] == [waits]
    assert mentions(result["notes"], "Job/train", "no room")
    assert done.run(done.request(NEW))["pending"] == []  # nothing was evicted


def test_quotas_on_a_name_that_goes_are_told(done: Scene) -> None:
    done.fleet.api.put(
        "/api/v1/namespaces/work/resourcequotas/gpus",
        {"metadata": {"namespace": "work"}, "spec": {"hard": {f"requests.{GPU}": "8"}}},
    )
    renamed = {**OLD, "dev": {"replicas": 8, "rename_by_default": True}}
    result = done.look(done.request(renamed, planning=True)).result()
    quotas = result["quotas"]
    assert isinstance(quotas, list)
    assert mentions(quotas[0], "ResourceQuota gpus", "work", GPU)
    assert done.look(done.request(NEW, planning=True)).result()["quotas"] == []


# ---- what there is to go back to


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(
            lambda revision: revision["data"]["profiles"].update(dev="{"),
            id="a file as it was found, which is refused",
        ),
        pytest.param(
            lambda revision: revision["metadata"]["annotations"].update(
                {"gpufleet.sharing/state": "failed"}
            ),
            id="none was good",
        ),
    ],
)
def test_nothing_to_go_back_to(done: Scene, spoil: Callable[[dict[str, Any]], None]) -> None:
    spoil(done.fleet.api.objects[f"{REVISIONS}/device-plugin-config-1"])
    text = to_plugin_config(checked_profiles(NEW)["dev"])
    done.fleet.refuses = lambda _node, loaded: loaded == text
    assert done.fails(done.request(NEW)).endswith(STOPPED)
    assert done.fleet.slots(*NAMES) == [0, 16, 16]


def test_good_revision_that_is_repaired_in_vain_stays_good(done: Scene) -> None:
    """The fault is not the revision's."""
    done.fleet.edit("n1", annotations={HASH: None}, labels={LABEL: "default"})
    done.fleet.settle(10)
    done.fleet.refuses = lambda _node, _text: True
    assert done.fails(done.request(OLD)).endswith(STOPPED)
    assert done.history() == [(1, "good")]


def test_another_run_at_work_is_not_disturbed(done: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the lease is lost nothing is written: neither nodes nor how it ended."""

    def lose(_self: object) -> None:
        raise LeaseError("lost")

    monkeypatch.setattr(Lease, "check", lose)
    assert done.fails(done.request(NEW)) == "lost"
    assert done.history()[0] == (2, "started")
    assert not [line for line in done.writes() if "/nodes/" in line or "/pods/" in line]


def test_nodes_that_mig_has_not_reached_wait(scene: Scene) -> None:
    cut = {"default": {"replicas": 2}, "dev": {"replicas": 2, "mig": "all-1g.5gb"}}
    scene.fleet.edit("n1", labels={"nvidia.com/mig.capable": "true"})
    result = scene.run(scene.request(cut, {"n1": "dev", "n2": None}))
    assert result["unavailable"] == ["n1"]
    assert scene.fleet.node("n1").labels.get(LABEL) is None
