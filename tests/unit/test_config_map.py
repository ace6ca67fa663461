# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ConfigMap of profiles: what is put, pruned, adopted and removed, and what is noted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import SharingError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import (
    PROFILES_ANNOTATION,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import (
    ConfigMap,
    ConfigMapPlan,
    KeyRecord,
    check_config_map_name,
    plan_config_map,
    plan_removal,
    read_config_map,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import (
    config_hash,
    same_content,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

NOW = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
PLANNED = "2026-01-02T03:04:05Z"
CHANGED = "2026-01-02T03:04:09Z"
CREATED = "2025-01-01T00:00:00Z"
A, B = "version: v1\n", "version: v1\nflags:\n  gdsEnabled: true\n"
FILES = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from([A, B, "{", ""]))


def written(text: str, at: str = CREATED, *, replaced: bool = True) -> KeyRecord:
    return KeyRecord(config_hash(text), at, replaced)


def document(annotation: str | None, **extra: object) -> dict[str, object]:
    annotations = {} if annotation is None else {PROFILES_ANNOTATION: annotation}
    metadata = {"annotations": annotations, "creationTimestamp": CREATED, **extra}
    return {"metadata": metadata, "data": {"a": A}}


def applied(plan: ConfigMapPlan) -> ConfigMap:
    """The ConfigMap after a merge patch with the plan."""
    patch: dict[str, Any] = plan.patch()
    before = plan.before or ConfigMap(ours=True, created=CREATED)
    data = {**before.data, **patch["data"]}
    kept = {key: text for key, text in data.items() if text is not None}
    metadata = {**patch["metadata"], "creationTimestamp": CREATED}
    return read_config_map({"metadata": metadata, "data": kept})


@pytest.mark.parametrize("name", ["device-plugin-config", "a", "9", "time-slicing-9", "a" * 63])
def test_names_that_can_be_mounted(name: str) -> None:
    check_config_map_name(name)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("my.profiles", ("63", "a-z 0-9 -")),
        ("a" * 64, ("63", "a-z 0-9 -")),
        ("-a", ("63", "a-z 0-9 -")),
        ("a-", ("63", "a-z 0-9 -")),
        ("", ("63", "a-z 0-9 -")),
        ("a\n", ("63", "a-z 0-9 -")),
        ("device-plugin", ("volume",)),
        ("config", ("volume",)),
        ("host-root", ("volume",)),
    ],
)
def test_names_that_the_operator_cannot_mount(name: str, facts: tuple[str, ...]) -> None:
    with pytest.raises(SharingError) as caught:
        check_config_map_name(name)
    assert mentions(caught.value, "O(config_map)", f"'{name}'", *facts)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (None, {}),
        ('{"a": {"hash": "h", "at": "t"}}', {"a": KeyRecord("h", "t")}),
        ('{"a": {"hash": "v1:h", "at": "t"}}', {"a": KeyRecord("h", "t")}),
        ('{"a": {"hash": "v2:h", "at": "t"}}', {"a": KeyRecord("v2:h", "t")}),
        ("{", {}),
        ("[]", {}),
        ('{"a": {"hash": "h"}}', {}),
        ('{"a": 1}', {}),
    ],
)
def test_read_config_map_annotation(annotation: str | None, expected: dict[str, KeyRecord]) -> None:
    found = read_config_map(document(annotation))
    assert found == ConfigMap({"a": A}, expected, False, CREATED)


@pytest.mark.parametrize(("owner", "ours"), [("gpufleet.sharing", True), ("Helm", False)])
def test_read_config_map_owner(owner: str, ours: bool) -> None:
    labels = {"app.kubernetes.io/managed-by": owner}
    assert read_config_map(document(None, labels=labels)).ours is ours


@pytest.mark.parametrize(
    ("record", "changed", "expected"),
    [
        pytest.param({}, CHANGED, datetime(2025, 1, 1, tzinfo=UTC), id="created"),
        pytest.param({"a": written(A, PLANNED)}, CHANGED, NOW.replace(second=9), id="written"),
        pytest.param(
            {"a": written(A, PLANNED)},
            "2026-01-02T04:00:00Z",
            NOW + timedelta(minutes=2),
            id="another key was written later",
        ),
        pytest.param({"a": written(A, PLANNED)}, "", NOW + timedelta(minutes=2), id="no managers"),
        pytest.param(
            {"a": written(A, "2026-01-02 03:04:05")}, CHANGED, NOW.replace(second=9), id="by hand"
        ),
        pytest.param(
            {"a": written(A, PLANNED)}, CREATED, NOW + timedelta(minutes=2), id="makes no sense"
        ),
        pytest.param({"a": written(B, PLANNED)}, CHANGED, None, id="edited since by somebody"),
        pytest.param({"a": written(A, "")}, CHANGED, None, id="unreadable time"),
    ],
)
def test_written_at(record: dict[str, KeyRecord], changed: str, expected: datetime | None) -> None:
    config_map = ConfigMap({"a": A}, record, created=CREATED, changed=changed)
    assert config_map.written_at("a") == (expected and expected.replace(microsecond=0))


def test_read_config_map_last_change_is_that_of_any_client_to_the_data() -> None:
    managers = [
        {"time": "2026-01-02T03:00:00Z", "fieldsV1": {"f:data": {".": {}, "f:a": {}}}},
        {"time": "2026-01-02T03:04:09Z", "fieldsV1": {"f:data": {"f:b": {}}}},
        {"time": "2026-02-01T00:00:00Z", "fieldsV1": {"f:metadata": {}}},
    ]
    assert read_config_map(document(None, managedFields=managers)).changed == CHANGED
    assert read_config_map(document(None)).changed == ""


def test_record_of_a_newer_release_is_kept() -> None:
    note = '{"a": {"hash": "v2:h", "at": "t", "replaced": true}}'
    plan = plan_config_map(read_config_map(document(note)), {"b": A}, now=NOW)
    annotations: Any = plan.patch()["metadata"]
    assert json.loads(annotations["annotations"][PROFILES_ANNOTATION])["a"]["hash"] == "v2:h"


def test_plan_config_map_creates() -> None:
    plan = plan_config_map(None, {"a": A}, now=NOW)
    assert plan
    assert plan.patch() == {
        "metadata": {
            "annotations": {
                PROFILES_ANNOTATION: json.dumps(
                    {"a": {"hash": f"v1:{config_hash(A)}", "at": PLANNED, "replaced": False}}
                )
            }
        },
        "data": {"a": A},
    }
    assert plan.diff() == {"before": {}, "after": {"a": A}}


def test_plan_config_map_puts_what_differs() -> None:
    observed = ConfigMap({"a": A, "b": A}, {"a": written(A), "b": written(A)})
    plan = plan_config_map(observed, {"a": A, "b": B}, now=NOW)
    assert plan.put == {"b": B}
    assert plan.record == {"a": written(A), "b": written(B, PLANNED)}
    assert plan.diff() == {"before": {"b": A}, "after": {"b": B}}


def test_plan_config_map_leaves_other_layout() -> None:
    observed = ConfigMap({"a": "# by hand\n" + A}, {"a": written(A)})
    assert not plan_config_map(observed, {"a": A}, now=NOW)


def test_plan_config_map_adopts() -> None:
    observed = ConfigMap({"a": A, "other": B}, created=CREATED)
    plan = plan_config_map(observed, {"a": A}, now=NOW)
    assert (plan.put, plan.remove, plan.record) == ({}, (), {})  # it stays its owner's
    assert not plan


@pytest.mark.parametrize(
    ("going", "in_use", "remove", "kept", "record"),
    [
        ([], [], (), (), ["a", "old"]),
        ([], ["old"], (), (), ["a", "old"]),
        (["old"], [], ("old",), (), ["a"]),
        (["a", "nowhere", "gone"], [], (), (), ["a", "old"]),
        (["foreign", "old"], [], ("foreign", "old"), (), ["a"]),
        (["foreign", "old"], ["old", "a", "nowhere"], ("foreign",), ("old",), ["a", "old"]),
    ],
)
def test_plan_config_map_lets_keys_go(
    going: list[str],
    in_use: list[str],
    remove: tuple[str, ...],
    kept: tuple[str, ...],
    record: list[str],
) -> None:
    observed = ConfigMap(
        {"a": A, "old": B, "foreign": B}, {"a": written(A), "old": written(B), "gone": written(B)}
    )
    plan = plan_config_map(observed, {"a": A}, now=NOW, obsolete=going, in_use=in_use)
    assert (plan.remove, plan.in_use, sorted(plan.record)) == (remove, kept, record)
    assert plan.patch()["data"] == dict.fromkeys(remove)
    assert plan.diff() == {"before": dict.fromkeys(remove, B), "after": {}}


KEYS = st.sets(st.sampled_from(["a", "b", "c", "d"]))


@given(files=FILES, data=FILES, noted=KEYS, going=KEYS, in_use=KEYS)
def test_plan_config_map_idempotent(
    files: dict[str, str], data: dict[str, str], noted: set[str], going: set[str], in_use: set[str]
) -> None:
    record = {key: written(data.get(key, A)) for key in noted}
    observed = ConfigMap(data, record, created=CREATED)
    plan = plan_config_map(observed, files, now=NOW, obsolete=going, in_use=in_use)
    after = applied(plan)
    later = NOW + timedelta(hours=1)
    assert not plan_config_map(after, files, now=later, obsolete=going, in_use=in_use)
    assert after.data.keys() >= files.keys() | (data.keys() & (in_use | (data.keys() - going)))
    assert after.written.keys() <= after.data.keys()
    for key, text in files.items():
        assert same_content(after.data[key], text) or after.data[key] == text


@pytest.mark.parametrize(
    ("before", "replaced"),
    [
        pytest.param(None, False, id="no ConfigMap"),
        pytest.param(ConfigMap({"b": B}), False, id="no such key"),
        pytest.param(ConfigMap({"a": B}), True, id="other content"),
        pytest.param(ConfigMap({"a": "{"}), True, id="broken content"),
    ],
)
def test_plan_config_map_notes_what_a_key_had_before(
    before: ConfigMap | None, replaced: bool
) -> None:
    """A plugin that started earlier may still have the earlier content in hand."""
    plan = plan_config_map(before, {"a": A}, now=NOW)
    assert plan.record["a"] == written(A, PLANNED, replaced=replaced)
    assert applied(plan).written["a"].replaced is replaced


@pytest.mark.parametrize(
    ("note", "replaced"), [({}, True), ({"replaced": True}, True), ({"replaced": False}, False)]
)
def test_read_config_map_of_an_older_note(note: dict[str, bool], replaced: bool) -> None:
    annotation = json.dumps({"a": {"hash": "h", "at": "t", **note}})
    found = read_config_map(document(annotation))
    assert found.written["a"] == KeyRecord("h", "t", replaced)


def test_plan_removal_keeps_what_is_in_use() -> None:
    ours = {"a": written(A), "b": written(B)}
    observed = ConfigMap({"a": A, "b": B}, ours, ours=True)
    plan = plan_removal(observed, {"a"})
    assert (plan.remove, plan.in_use, plan.delete) == (("b",), ("a",), False)
    assert plan.record == {"a": written(A)}


@pytest.mark.parametrize(
    ("observed", "remove", "delete"),
    [
        pytest.param(None, (), False, id="nothing there"),
        pytest.param(ConfigMap({"a": A}, {"a": written(A)}, ours=True), ("a",), True, id="ours"),
        pytest.param(
            ConfigMap({"a": A, "x": B}, {"a": written(A)}, ours=True),
            ("a",),
            False,
            id="foreign key",
        ),
        pytest.param(ConfigMap({"a": A}, {"a": written(A)}), ("a",), False, id="foreign map"),
        pytest.param(ConfigMap({"x": B}), (), False, id="never ours"),
    ],
)
def test_plan_removal(observed: ConfigMap | None, remove: tuple[str, ...], delete: bool) -> None:
    plan = plan_removal(observed)
    assert (plan.remove, plan.delete, plan.record) == (remove, delete, {})
    assert bool(plan) is bool(remove)
    annotations = {PROFILES_ANNOTATION: None}
    assert plan.patch() == {
        "metadata": {"annotations": annotations},
        "data": dict.fromkeys(remove),
    }
    assert plan.diff() == {"before": dict.fromkeys(remove, A), "after": {}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [(A, False), (B, True), ("Flags: {migStrategy: none}\n", True), ("FLAGS: {}\n", True)],
)
def test_flags_are_noticed_as_the_plugin_reads_them(text: str, expected: bool) -> None:
    """The plugin does not mind the case of keys."""
    assert ConfigMap({"a": A, "b": text}).has_flags is expected
