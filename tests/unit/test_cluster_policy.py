# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ClusterPolicy's device plugin config, and whether DaemonSets carry it out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import operand_pod
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.cluster_policy import (
    PREVIOUS_ANNOTATION,
    DevicePluginConfig,
    disabled_part,
    not_stored_message,
    plugin_config_patch,
    policy_using,
    previous_plugin_config,
    read_plugin_config,
    reason_ignored,
    reports_no_gpus,
    restore_patch,
    with_operator_message,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.daemonsets import (
    blocking_pods_message,
    config_map_reader,
    outdated_daemonset,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

OURS = DevicePluginConfig("device-plugin-config", "default")
THEIRS = DevicePluginConfig("theirs", "big")
NOTE = PREVIOUS_ANNOTATION
PLUGIN, GFD = "nvidia-device-plugin-daemonset", "gpu-feature-discovery"


def policy(config: object = None, note: object = None) -> dict[str, Any]:
    annotations = {} if note is None else {NOTE: note}
    return {
        "metadata": {"name": "cluster-policy", "annotations": annotations},
        "spec": {"devicePlugin": {"config": config}},
    }


def config_of(pointer: DevicePluginConfig) -> dict[str, str]:
    return dict(vars(pointer))


def note_of(pointer: DevicePluginConfig) -> str:
    return json.dumps(vars(pointer))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (policy(config_of(OURS)), OURS),
        (policy({"name": "theirs"}), DevicePluginConfig("theirs", "")),
        (policy({"name": None, "default": None}), DevicePluginConfig()),
        (policy(), DevicePluginConfig()),
        ({"spec": {}}, DevicePluginConfig()),
        (None, DevicePluginConfig()),
    ],
)
def test_read_pointer(document: object, expected: DevicePluginConfig) -> None:
    assert read_plugin_config(document) == expected


@pytest.mark.parametrize(
    ("before", "note"),
    [(policy(), DevicePluginConfig()), (policy(config_of(THEIRS)), THEIRS)],
)
def test_pointer_patch_notes_the_pointer_before(before: object, note: DevicePluginConfig) -> None:
    assert plugin_config_patch(before, OURS) == {
        "spec": {"devicePlugin": {"config": config_of(OURS)}},
        "metadata": {"annotations": {NOTE: note_of(note)}},
    }


def test_pointer_that_was_never_in_force_is_not_noted() -> None:
    patch = plugin_config_patch(policy(config_of(THEIRS)), OURS, recorded=False)
    assert patch == {"spec": {"devicePlugin": {"config": config_of(OURS)}}}


def test_pointer_patch_keeps_the_first_note() -> None:
    before = policy(config_of(OURS), note_of(THEIRS))
    wanted = DevicePluginConfig("device-plugin-config", "dev")
    assert plugin_config_patch(before, wanted) == {
        "spec": {"devicePlugin": {"config": config_of(wanted)}}
    }


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        (note_of(THEIRS), THEIRS),
        (note_of(DevicePluginConfig()), DevicePluginConfig()),
        ("{broken", DevicePluginConfig()),
        ("[]", DevicePluginConfig()),
        (None, DevicePluginConfig()),
    ],
)
def test_previous_pointer(note: object, expected: DevicePluginConfig) -> None:
    assert previous_plugin_config(policy(note=note)) == expected


@pytest.mark.parametrize(
    ("document", "config"),
    [
        (policy(config_of(OURS), note_of(THEIRS)), config_of(THEIRS)),
        (
            policy(config_of(OURS), note_of(DevicePluginConfig("theirs"))),
            {"name": "theirs", "default": None},
        ),
        (policy(config_of(OURS), note_of(DevicePluginConfig())), None),
        (policy(config_of(OURS), "{broken"), None),
    ],
)
def test_undo_patch_puts_back_what_was_there(document: object, config: object) -> None:
    assert restore_patch(document, OURS.name) == {
        "metadata": {"annotations": {NOTE: None}},
        "spec": {"devicePlugin": {"config": config}},
    }


def test_undo_patch_leaves_a_pointer_that_somebody_has_set_meanwhile() -> None:
    document = policy(config_of(THEIRS), note_of(DevicePluginConfig()))
    assert restore_patch(document, OURS.name) == {"metadata": {"annotations": {NOTE: None}}}


@pytest.mark.parametrize("document", [policy(config_of(OURS)), None])
def test_undo_patch_of_what_we_never_set(document: object) -> None:
    assert restore_patch(document, OURS.name) is None


def test_not_stored_says_both() -> None:
    said = not_stored_message(policy(config_of(THEIRS)), OURS)
    assert mentions(said, "ClusterPolicy cluster-policy", "devicePlugin.config")
    assert mentions(said, "'theirs'", "'big'", "'device-plugin-config'", "'default'")


@pytest.mark.parametrize(
    ("ages", "active"),
    [
        ({}, "cluster-policy"),
        ({"cluster-policy": "2026-01-02T00:00:00Z"}, "cluster-policy"),
        ({"cluster-policy": "2026-01-02T00:00:00Z", "b": "2026-01-01T23:59:59Z"}, "b"),
        ({"cluster-policy": "2026-01-02T00:00:00Z", "b": "2026-01-03T00:00:00Z"}, "cluster-policy"),
        ({"cluster-policy": "2026-01-02T00:00:00Z", "a": "2026-01-02T00:00:00Z"}, "a"),
    ],
)
def test_the_operator_goes_by_the_oldest(ages: dict[str, str], active: str) -> None:
    found = [{"metadata": {"name": name, "creationTimestamp": at}} for name, at in ages.items()]
    said = reason_ignored("cluster-policy", found)
    assert bool(said) is (active != "cluster-policy")
    assert not said or mentions(said, f"O(cluster_policy): {active}")


def daemonset(app: str, **changes: Any) -> dict[str, Any]:
    """One that has taken our pointer over and reached its 3 nodes."""
    given: dict[str, Any] = {"config_map": OURS.name, "default": OURS.default, "in_init": False}
    given |= changes
    container = {"env": [{"name": "DEFAULT_CONFIG", "value": given["default"]}, {"name": "OTHER"}]}
    plain = {"name": "plain"}
    containers = [plain] if given["in_init"] else [plain, container]
    status = {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3}
    return {
        "metadata": {"generation": 2},
        "spec": {
            "template": {
                "metadata": {"labels": {"app": app}},
                "spec": {
                    "volumes": [{"emptyDir": {}}, {"configMap": {"name": given["config_map"]}}],
                    "initContainers": [container] if given["in_init"] else [],
                    "containers": containers,
                },
            }
        },
        "status": status | given.get("status", {}),
    }


NOWHERE: dict[str, Any] = {"updatedNumberScheduled": None, "desiredNumberScheduled": 0}
GONE: dict[str, Any] = {"updatedNumberScheduled": None, "desiredNumberScheduled": None}


@pytest.mark.parametrize(
    ("daemonsets", "facts", "reached"),
    [
        ([daemonset(PLUGIN), daemonset(GFD)], (), []),
        ([daemonset(GFD, in_init=True), daemonset("other"), daemonset(PLUGIN)], (), []),
        ([daemonset(PLUGIN, status=GONE), daemonset(GFD, status=GONE)], (), []),  # no GPU nodes
        ([], (PLUGIN,), []),
        ([daemonset(PLUGIN)], (GFD,), []),
        (
            [daemonset(PLUGIN, config_map="theirs"), daemonset(GFD)],
            (PLUGIN, f"ConfigMap {OURS.name}", OURS.default),
            [],
        ),
        (
            [daemonset(PLUGIN), daemonset(GFD, default="big")],
            (GFD, f"ConfigMap {OURS.name}", OURS.default),
            [],
        ),
        (
            [daemonset(PLUGIN, status={"observedGeneration": 1}), daemonset(GFD)],
            (PLUGIN, "controller"),
            [],
        ),
        (
            [daemonset(PLUGIN), daemonset(GFD, status={"updatedNumberScheduled": 1})],
            (GFD,),
            [1, 3],
        ),
        (
            [daemonset(PLUGIN, status={"updatedNumberScheduled": None}), daemonset(GFD)],
            (PLUGIN,),
            [0, 3],
        ),
    ],
)
def test_lagging(daemonsets: list[object], facts: tuple[str, ...], reached: list[float]) -> None:
    said = outdated_daemonset(daemonsets, policy(config_of(OURS)))
    assert bool(said) is bool(facts)
    assert mentions(said, *[f"DaemonSet {facts[0]}", *facts[1:]] if facts else [])
    assert numbers(said) == reached


def test_rollout_that_is_left_to_the_user() -> None:
    """updateStrategy OnDelete of the chart: pods stay as they are until somebody deletes them."""
    stuck = daemonset(PLUGIN, status={"updatedNumberScheduled": 0})
    stuck["spec"]["updateStrategy"] = {"type": "OnDelete"}
    said = outdated_daemonset([stuck], policy(config_of(OURS)))
    assert mentions(said, f"DaemonSet {PLUGIN}", "OnDelete")
    assert numbers(said) == [0, 3]


@pytest.mark.parametrize(
    ("labels", "lacks"),
    [
        ({"helm.sh/chart": "gpu-operator-v26.7.0"}, ""),
        ({"app": "else", "app.kubernetes.io/part-of": "else"}, ""),  # the operator keeps its own
        (
            {"helm.sh/chart": "gpu-operator-v26.7.1"},
            "helm.sh/chart=gpu-operator-v26.7.1",
        ),
    ],
)
def test_a_new_chart_is_taken_over_too(labels: dict[str, str], lacks: str) -> None:
    """Its version is a label of every operand, so that it restarts all plugins."""
    new = policy(config_of(OURS))
    new["spec"]["daemonsets"] = {"labels": labels}
    sets = [daemonset(PLUGIN), daemonset(GFD)]
    for item in sets:
        template = item["spec"]["template"]
        template["metadata"]["labels"]["helm.sh/chart"] = "gpu-operator-v26.7.0"
    said = outdated_daemonset(sets, new)
    assert mentions(said, f"DaemonSet {PLUGIN}", lacks) if lacks else not said


IMAGE = {"repository": "nvcr.io/nvidia", "image": "k8s-device-plugin", "version": "v0.19.3"}


@pytest.mark.parametrize(
    ("part", "container", "lacks"),
    [
        ({}, {}, ""),
        (IMAGE, {"image": "nvcr.io/nvidia/k8s-device-plugin:v0.19.3"}, ""),
        (
            IMAGE,
            {"image": "nvcr.io/nvidia/k8s-device-plugin:v0.19.2"},
            "image nvcr.io/nvidia/k8s-device-plugin:v0.19.3",
        ),
        (IMAGE, {"image": "mirror:5000/nvcr/k8s-device-plugin:v0.19.3@sha256:ab"}, ""),  # admission
        (
            IMAGE,
            {"image": "mirror:5000/nvcr/k8s-device-plugin:v0.19.2@sha256:ab"},
            "image nvcr.io/nvidia/k8s-device-plugin:v0.19.3",
        ),
        (
            {**IMAGE, "version": "sha256:ab"},
            {"image": "nvcr.io/nvidia/k8s-device-plugin:v0.19.2"},
            "image nvcr.io/nvidia/k8s-device-plugin@sha256:ab",
        ),
        ({"image": "mirror/plugin@sha256:ab"}, {"image": "other"}, "image mirror/plugin@sha256:ab"),
        ({"image": "plugin", "version": "v1"}, {"image": "other"}, ""),  # the operator refuses it
        ({"args": ["--x"]}, {"args": ["--x"]}, ""),
        ({"args": ["--x"]}, {}, "arg"),
        ({"args": []}, {"args": ["of the operator's own"]}, ""),
        ({"env": [{"name": "DEVICE_LIST_STRATEGY", "value": "envvar"}]}, {}, ""),  # CDI wins
    ],
)
def test_new_image_and_arguments_are_taken_over_too(
    part: dict[str, Any], container: dict[str, Any], lacks: str
) -> None:
    """They restart every plugin."""
    document = policy(config_of(OURS))
    document["spec"]["devicePlugin"].update(part)
    plugin = daemonset(PLUGIN)
    plugin["spec"]["template"]["spec"]["containers"].append(
        {"name": "nvidia-device-plugin", **container}
    )
    said = outdated_daemonset([plugin, daemonset(GFD)], document)
    assert mentions(said, f"DaemonSet {PLUGIN}", lacks, "ClusterPolicy") if lacks else not said


@pytest.mark.parametrize(
    ("strategy", "variables", "lacks"),
    [
        ("mixed", {"MIG_STRATEGY": "mixed"}, False),
        ("mixed", {"MIG_STRATEGY": "single"}, True),
        ("mixed", {}, True),
        ("mixed", {"GFD_MIG_STRATEGY": "mixed"}, False),  # operator v22.9.0
        ("", {}, False),
    ],
)
def test_new_mig_strategy_is_taken_over_too(
    strategy: str, variables: dict[str, str], lacks: bool
) -> None:
    document = policy(config_of(OURS))
    document["spec"]["mig"] = {"strategy": strategy}
    sets = [daemonset(PLUGIN), daemonset(GFD)]
    names = ("nvidia-device-plugin", GFD)
    for item, name in zip(sets, names, strict=True):
        env = [{"name": key, "value": value} for key, value in variables.items()]
        item["spec"]["template"]["spec"]["containers"].append({"name": name, "env": env})
    said = outdated_daemonset(sets, document)
    document["spec"]["devicePlugin"]["env"] = [{"name": "MIG_STRATEGY", "value": "none"}]
    assert PLUGIN not in outdated_daemonset(sets, document)  # which one wins depends
    assert mentions(said, f"DaemonSet {PLUGIN}", "MIG", strategy) if lacks else not said


@pytest.mark.parametrize(
    ("sets", "facts"),
    [
        ([], ()),
        ([daemonset("other", config_map="x")], ()),
        ([daemonset(PLUGIN, config_map="theirs")], ()),
        ([daemonset(PLUGIN, config_map="theirs", status={"updatedNumberScheduled": 1})], ()),
        ([daemonset("other")], ()),  # nobody's whom the operator would keep
        ([daemonset(PLUGIN, status=NOWHERE)], ()),
        ([daemonset(PLUGIN, config_map="theirs"), daemonset(GFD)], (f"ConfigMap {OURS.name}",)),
    ],
)
def test_still_reading(sets: list[object], facts: tuple[str, ...]) -> None:
    found = config_map_reader(sets, OURS.name)
    assert bool(found) is bool(facts)
    assert mentions(found, *facts)


def test_policy_using() -> None:
    theirs, ours = policy(config_of(THEIRS)), policy(config_of(OURS))
    assert policy_using([policy(), theirs], OURS.name) == ""
    said = policy_using([theirs, ours], OURS.name)
    assert mentions(said, "ClusterPolicy cluster-policy", f"ConfigMap {OURS.name}")
    assert mentions(said, "O(cluster_policy): cluster-policy")


def test_blocking_pods_message_names_pods_and_nodes() -> None:
    pods = [
        operand_pod(
            {
                "metadata": {"name": f"plugin-{number}", "namespace": "gpu-operator"},
                "spec": {"nodeName": f"n{number}"},
            }
        )
        for number in range(7)
    ]
    said = blocking_pods_message(pods)
    assert mentions(said, *[f"plugin-{number} on n{number}" for number in range(5)])
    assert "plugin-5" not in said
    assert mentions(said, " 2 more", "kubectl delete pod -n gpu-operator --force NAME")
    assert mentions(said, "O(values)")


@pytest.mark.parametrize(
    ("parts", "off"),
    [
        ({}, ""),
        ({"devicePlugin": {"enabled": True}, "gfd": None}, ""),
        ({"gfd": {"enabled": False}}, "gfd"),
        ({"devicePlugin": {"enabled": "no"}, "gfd": {"enabled": False}}, "devicePlugin"),
    ],
)
def test_switched_off(parts: object, off: str) -> None:
    said = disabled_part(parts)
    assert mentions(said, f"{off}.enabled") if off else not said


def condition(kind: str, reason: str, message: str = "", status: str = "True") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


@pytest.mark.parametrize(
    ("conditions", "words", "no_gpus"),
    [
        ([], "", False),
        ([condition("Ready", "Reconciled", "all is well")], "", False),
        ([condition("Ready", "NoGPUNodes", "No GPU node found.")], "No GPU node found", True),
        (
            [condition("Ready", "NFDLabelsMissing", "No NFD labels found")],
            "No NFD labels found",
            True,
        ),
        ([condition("Ready", "NoGPUNodes", "old", "False")], "", False),
        (
            [
                condition("Ready", "Error", "", "False"),
                condition("Error", "ReconcileFailed", 'Duplicate value: "device-plugin"'),
            ],
            'Duplicate value: "device-plugin"',
            False,
        ),
        ([condition("Error", "OperandNotReady", "states not ready: [state-driver]")], "", False),
    ],
)
def test_words_of_the_operator(conditions: list[dict[str, str]], words: str, no_gpus: bool) -> None:
    document = {**policy(), "status": {"conditions": conditions}}
    told = with_operator_message("it lags", document)
    assert told.startswith("it lags")
    assert told.endswith(words or "it lags")
    assert reports_no_gpus(document) is no_gpus
