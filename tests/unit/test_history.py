# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history: what a revision holds, when there is a new one, where to go back, what may go."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    HistoryError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.history import (
    KEEP_GOOD,
    FleetSpec,
    History,
    Revision,
    RevisionState,
    find_revision,
    history_label,
    last_good,
    merge_assignments,
    next_revision,
    prunable,
    read_revision,
    same_spec,
    spec_as_found,
    summary,
    to_document,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import SERVER, FakeApi

CONFIG_MAP = "device-plugin-config"
LIST = "/apis/apps/v1/namespaces/gpu-operator/controllerrevisions"
WHEN = "2026-01-02T03:04:05Z"
PROFILES = {"default": {"replicas": 4}, "dev": {"replicas": 8}}
DESIRED = FleetSpec("in_place", "default", PROFILES, {"n1": "dev", "n2": None})
FEWER = replace(DESIRED, profiles=PROFILES | {"dev": {"replicas": 6}})
FILE = "version: v1\n"
GOOD, FAILED, STARTED = RevisionState.GOOD, RevisionState.FAILED, RevisionState.STARTED
NODES = st.dictionaries(
    st.from_regex(r"[a-z0-9-]{1,9}", fullmatch=True), st.sampled_from([None, "default", "dev"])
)
STATES = st.lists(st.sampled_from(RevisionState), max_size=20)


def revisions(*states: RevisionState, desired: FleetSpec = DESIRED) -> list[Revision]:
    """Revisions 1, 2, ... of these states, newest first."""
    return [Revision(number, desired, state) for number, state in enumerate(states, 1)][::-1]


def numbers(found: list[Revision]) -> list[int]:
    return [revision.number for revision in found]


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def history(api: FakeApi) -> History:
    return History(api.cluster, "gpu-operator", CONFIG_MAP)


@pytest.mark.parametrize(
    ("name", "expected"), [(CONFIG_MAP, CONFIG_MAP), ("x" * 63, "x" * 63), ("x" * 64, "7ce100971f")]
)
def test_label_of(name: str, expected: str) -> None:
    label = history_label(name)
    assert label.startswith(expected)
    assert len(label) <= 63


def test_document_of_a_revision() -> None:
    revision = Revision(7, DESIRED, GOOD, "me", WHEN, "first revision")
    assert to_document(revision, CONFIG_MAP) == {
        "metadata": {
            "name": "device-plugin-config-7",
            "labels": {
                "app.kubernetes.io/managed-by": "gpufleet.sharing",
                "gpufleet.sharing/history": "device-plugin-config",
            },
            "annotations": {
                "gpufleet.sharing/state": "good",
                "gpufleet.sharing/who": "me",
                "gpufleet.sharing/when": WHEN,
                "gpufleet.sharing/what": "first revision",
            },
        },
        "revision": 7,
        "data": {
            "mode": "in_place",
            "default_profile": "default",
            "profiles": PROFILES,
            "assignments": {"": ["n2"], "dev": ["n1"]},
        },
    }


@given(nodes=NODES, state=st.sampled_from(RevisionState), text=st.text(max_size=9))
def test_read_revision_is_the_inverse(
    nodes: dict[str, str | None], state: RevisionState, text: str
) -> None:
    revision = Revision(3, replace(DESIRED, assignments=nodes), state, text, WHEN, text)
    sent = json.loads(json.dumps(to_document(revision, CONFIG_MAP)))
    read = read_revision(sent)
    assert read == revision
    assert read is not None
    assert read.name == "device-plugin-config-3"


@pytest.mark.parametrize(
    "document",
    [
        None,
        {"revision": 1},
        {"revision": 1, "data": {"spec": {}}},  # of a DaemonSet
        {"revision": 1, "data": {"profiles": {}, "assignments": []}},
        {"revision": "1", "data": {"profiles": {}, "assignments": {}}},
    ],
)
def test_read_revision_of_somebody_else(document: object) -> None:
    assert read_revision(document) is None


def test_read_revision_with_the_least() -> None:
    read = read_revision({"revision": 1, "data": {"profiles": {}, "assignments": {}}})
    assert read == Revision(1, FleetSpec("in_place", "", {}, {}), STARTED)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"mode": "versioned"}, False),
        ({"default_profile": "dev"}, False),
        ({"assignments": {"n1": "dev"}}, False),
        ({"assignments": {"n1": "dev", "n2": "default"}}, False),
        ({"profiles": {"default": {"replicas": 4}}}, False),
        ({"profiles": PROFILES | {"dev": {"replicas": 6}}}, False),
        ({"profiles": PROFILES | {"dev": {"replicas": 8, "mig": "all-disabled"}}}, False),
        ({"profiles": PROFILES | {"dev": {"replicas": 8, "strategy": "time_slicing"}}}, True),
        ({"profiles": PROFILES | {"dev": {"replicas": "none"}}}, False),
    ],
)
def test_same_desired(changes: dict[str, Any], same: bool) -> None:
    other = replace(DESIRED, **changes)
    assert same_spec(DESIRED, other) is same
    assert same_spec(other, DESIRED) is same


@pytest.mark.parametrize(
    ("states", "before", "expected"),
    [
        ([], None, None),
        ([STARTED, FAILED], None, None),
        ([GOOD, GOOD, FAILED], None, 2),
        ([GOOD, GOOD, FAILED], 3, 2),
        ([GOOD, GOOD, FAILED], 2, 1),
        ([GOOD], 1, None),
    ],
)
def test_last_good(states: list[RevisionState], before: int | None, expected: int | None) -> None:
    found = last_good(revisions(*states), before)
    assert (found.number if found else None) == expected


@pytest.mark.parametrize(
    ("states", "desired", "number", "state", "who"),
    [
        pytest.param([], DESIRED, 1, STARTED, "me", id="first"),
        pytest.param([FAILED, GOOD], FEWER, 3, STARTED, "me", id="other"),
        pytest.param([FAILED, GOOD], DESIRED, 2, GOOD, "", id="repaired"),
        pytest.param([GOOD, STARTED], DESIRED, 2, STARTED, "me", id="continued"),
        pytest.param([GOOD, FAILED], DESIRED, 2, STARTED, "me", id="tried again"),
    ],
)
def test_next_revision(
    states: list[RevisionState], desired: FleetSpec, number: int, state: RevisionState, who: str
) -> None:
    found = next_revision(revisions(*states), desired, who="me", when=WHEN)
    assert (found.number, found.state, found.who) == (number, state, who)
    assert found.spec == desired


@pytest.mark.parametrize(
    ("states", "keep", "gone"),
    [
        pytest.param([GOOD] * 3, 10, [], id="few"),
        pytest.param([GOOD] * 5, 3, [2, 1], id="many"),
        pytest.param([GOOD, GOOD, GOOD, FAILED, FAILED], 2, [1], id="good ones stay"),
        pytest.param([FAILED, GOOD, FAILED, FAILED], 2, [1], id="the only good one stays"),
        pytest.param([FAILED, STARTED], 0, [1], id="the newest stays"),
    ],
)
def test_too_old(states: list[RevisionState], keep: int, gone: list[int]) -> None:
    assert numbers(prunable(revisions(*states), keep)) == gone


@given(states=STATES, keep=st.integers(0, 12))
def test_pruning_loses_nothing_to_go_back_to(states: list[RevisionState], keep: int) -> None:
    history = revisions(*states)
    gone = numbers(prunable(history, keep))
    left = [each for each in history if each.number not in gone]
    assert len(left) <= max(1, keep) + KEEP_GOOD
    assert left[:1] == history[:1]
    assert last_good(left) == last_good(history)
    if history:
        newest = history[0].number
        assert last_good(left, newest) == last_good(history, newest)
    assert prunable(left, keep) == []


@pytest.mark.parametrize(
    ("previous", "expected"),
    [(None, {"n1": None}), (DESIRED, {"n1": None, "n2": None})],
)
def test_merge_assignments(previous: FleetSpec | None, expected: dict[str, str | None]) -> None:
    assert merge_assignments(previous, {"n1": None}) == expected


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        pytest.param("", None, id="no pointer"),
        pytest.param("gone", None, id="pointer to nothing"),
        pytest.param(
            "a",
            FleetSpec("in_place", "a", {"a": FILE, "b": "{"}, {"n1": "b", "n2": None, "n3": None}),
            id="found",
        ),
    ],
)
def test_baseline(default: str, expected: FleetSpec | None) -> None:
    labels = {"n1": "b", "n2": None, "n3": "", "n4": "gone"}
    assert spec_as_found({"a": FILE, "b": "{"}, labels, default) == expected


@pytest.mark.parametrize(
    ("states", "wanted", "number"),
    [
        ([GOOD, FAILED], "2", 2),
        ([GOOD, GOOD, FAILED], "previous_good", 2),
        ([GOOD, GOOD, GOOD], "previous_good", 2),
    ],
)
def test_choose(states: list[RevisionState], wanted: str, number: int) -> None:
    assert find_revision(revisions(*states), wanted).number == number


@pytest.mark.parametrize(
    ("states", "wanted", "facts"),
    [
        ([GOOD, FAILED], "3", ("'3'", "2 (failed)", "1 (good)")),
        ([], "3", ("'3'",)),
        ([FAILED, GOOD], "previous_good", ("2 (good)", "1 (failed)")),
        ([], "previous_good", ()),
    ],
)
def test_choose_what_is_not_there(
    states: list[RevisionState], wanted: str, facts: tuple[str, ...]
) -> None:
    with pytest.raises(HistoryError) as caught:
        find_revision(revisions(*states), wanted)
    assert mentions(caught.value, *facts)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"mode": "versioned"}, [("in_place", "versioned")]),
        ({"default_profile": "dev"}, [("default", "dev")]),
        ({"profiles": FEWER.profiles}, [("dev", "8", "6")]),
        ({"profiles": PROFILES | {"dev": {"replicas": 8, "strategy": "mps"}}}, [("dev",)]),
        ({"profiles": PROFILES | {"dev": "{"}}, [("dev",)]),
        ({"profiles": PROFILES | {"big": {"replicas": 2}}}, [("big",)]),
        ({"profiles": {"default": {"replicas": 4}}}, [("dev",)]),
        ({"assignments": {"n1": None, "n2": None}}, [("1", "default")]),
        (
            {"assignments": {"n2": "dev", "n3": "dev", "n4": None}},
            [("1", "default"), ("2", "dev"), ("1",)],
        ),
    ],
)
def test_summary(changes: dict[str, Any], parts: list[tuple[str, ...]]) -> None:
    said = summary(revisions(GOOD), replace(DESIRED, **changes)).split("; ")
    assert len(said) == len(parts)
    assert all(mentions(text, *facts) for text, facts in zip(said, parts, strict=True))


def test_summary_of_the_first_and_of_one_that_comes_back() -> None:
    assert summary([], DESIRED)
    history = [Revision(2, FEWER), *revisions(GOOD)]
    back, change = summary(history, DESIRED).split("; ")
    assert mentions(back, "1")
    assert mentions(change, "dev", "6", "8")


def test_summary_is_one_bearable_line() -> None:
    many = {f"p{number}": {"replicas": 2} for number in range(100)}
    said = summary(revisions(GOOD), replace(DESIRED, profiles=PROFILES | many))
    assert len(said) == 250
    assert said.endswith("...")


def test_size_for_5000_nodes() -> None:
    """Well under etcd's 1.5 MB, also with long names."""
    nodes = {f"gpu-{number:04}.{'x' * 40}.example.com": "dev" for number in range(5000)}
    document = to_document(Revision(1, replace(DESIRED, assignments=nodes)), CONFIG_MAP)
    assert len(json.dumps(document)) < 350_000


def test_begin_writes_the_first_revision(api: FakeApi, history: History) -> None:
    revision = history.begin(DESIRED, "root@host\npid 1")
    first = summary([], DESIRED)
    assert revision == Revision(1, DESIRED, STARTED, "root@host pid 1", WHEN, first)
    assert history.load() == [revision]
    assert history.load()[0].name == "device-plugin-config-1"


def test_begin_writes_what_was_found_first(api: FakeApi, history: History) -> None:
    assert history.load() == []
    history.record_found(DESIRED, "me")
    revision = history.begin(FEWER, "me")
    assert mentions(revision.what, "dev", "8", "6")
    newest, found = history.load()
    assert newest == revision
    assert found == Revision(1, DESIRED, GOOD, "me", WHEN, found.what)


def test_begin_continues_what_was_found(history: History) -> None:
    history.record_found(DESIRED, "me")
    assert history.begin(DESIRED, "me").number == 1


def test_begin_continues_and_leaves_a_good_one(api: FakeApi, history: History) -> None:
    first = history.begin(DESIRED, "me")
    history.finish(first, FAILED)
    again = history.begin(DESIRED, "another")
    assert (again.number, again.state, again.who) == (1, STARTED, "another")
    assert history.load() == [again]
    good = history.finish(again, GOOD)
    before = len(api.writes())
    assert history.begin(DESIRED, "third") == good
    assert history.finish(good, FAILED) == good  # the state was right once
    assert history.finish(good, GOOD) == good
    assert len(api.writes()) == before
    assert history.load() == [good]


@pytest.mark.parametrize("found", [None, FEWER])
def test_begin_beside_another_run(api: FakeApi, history: History, found: FleetSpec | None) -> None:
    """Where there is no namespace there is no lease; the number then decides."""

    def faster(method: str, _path: str) -> int:
        if method == "POST":
            api.fault = lambda _method, _path: 0
            first = Revision(1, replace(DESIRED, mode="versioned"))
            api.put(f"{LIST}/device-plugin-config-1", to_document(first, CONFIG_MAP))
        return 0

    api.fault = faster
    if found:
        history.record_found(found, "me")
    assert history.begin(DESIRED, "me").number == 2
    assert numbers(history.load()) == [2, 1]


def test_begin_beside_something_else_of_that_name(api: FakeApi, history: History) -> None:
    api.put(f"{LIST}/device-plugin-config-1", {"metadata": {"labels": {}}, "revision": 1})
    with pytest.raises(ClusterError) as caught:
        history.begin(DESIRED, "me")
    assert mentions(caught.value, "gpu-operator", SERVER, "ControllerRevision")


def test_begin_by_the_next_module_of_the_run_writes_nothing(api: FakeApi, history: History) -> None:
    first = history.begin(DESIRED, "job\n42")
    assert history.begin(DESIRED, "job\n42") == first
    assert len(api.writes()) == 1


def test_begin_that_is_forbidden(api: FakeApi, history: History) -> None:
    api.fault = lambda method, _path: 403 if method == "POST" else 0
    with pytest.raises(ClusterError, match=SERVER) as caught:
        history.begin(DESIRED, "me")
    assert caught.value.status == 403


def test_data_is_written_once_and_notes_alone_change(api: FakeApi, history: History) -> None:
    history.finish(history.begin(DESIRED, "me"), FAILED)
    history.begin(DESIRED, "me")
    assert [request.split()[0] for request in api.writes()] == ["POST", "PATCH", "PATCH"]


def test_prune_and_remove(api: FakeApi, history: History) -> None:
    for replicas in range(2, 7):
        desired = replace(DESIRED, profiles=PROFILES | {"dev": {"replicas": replicas}})
        history.finish(history.begin(desired, "me"), GOOD if replicas < 4 else FAILED)
    other = History(api.cluster, "gpu-operator", "device-plugin-config-2")
    other.begin(DESIRED, "me")
    assert history.prune(2) == [3]
    assert history.prune(2) == []
    assert numbers(history.load()) == [5, 4, 2, 1]
    assert history.remove() == [5, 4, 2, 1]
    assert history.load() == []
    assert numbers(other.load()) == [1]


def test_load_leaves_out_what_is_not_ours(api: FakeApi, history: History) -> None:
    label = {"gpufleet.sharing/history": CONFIG_MAP}
    api.put(f"{LIST}/x", {"metadata": {"labels": label}, "revision": 3})
    assert history.load() == []
