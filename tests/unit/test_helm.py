# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helm: the program, revisions that a killed run left, and whose release it is."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import RefusedError
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.helm import (
    HelmRevision,
    ReleaseRecord,
    check_program,
    failure_message,
    foreign_policies,
    pending_revision,
    read_helm_revisions,
    read_record,
    record_after_helm,
    record_of,
    seconds_left,
    updated_record,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "answer", ["v3.19.0+g3d8990f", "v3.0.0", "WARNING: group-readable\nv3.9.1"]
)
@pytest.mark.parametrize(
    "environ",
    [{}, {"HELM_DRIVER": "secret"}, {"HELM_DRIVER": "", "HELM_KUBETOKEN": "", "HELM_DEBUG": "1"}],
)
def test_check_program_takes_helm_3(answer: str, environ: dict[str, str]) -> None:
    check_program(answer, environ)


@pytest.mark.parametrize(
    ("answer", "environ", "facts"),
    [
        (None, {}, ("Helm 3", "PATH", "O(manage)", "existing")),
        ("v4.0.1+g12500dd", {}, ("v4.0.1+g12500dd", "Helm 3", "PATH", "O(manage)")),
        ("Client: v2.17.0+ga690bad", {}, ("v2.17.0+ga690bad", "Helm 3", "PATH")),
        ("cannot\nexecute", {}, ("helm version", "'cannot execute'")),
        (
            "v3.19.0",
            {"HELM_KUBETOKEN": "sesame", "HELM_KUBEAPISERVER": "https://elsewhere"},
            ("HELM_KUBEAPISERVER, HELM_KUBETOKEN",),
        ),
        ("v3.19.0", {"HELM_DRIVER": "configmap"}, ("HELM_DRIVER", "'configmap'")),
    ],
)
def test_check_program_refuses(
    answer: str | None, environ: dict[str, str], facts: tuple[str, ...]
) -> None:
    with pytest.raises(RefusedError) as caught:
        check_program(answer, environ)
    assert mentions(caught.value, *facts)
    assert "\n" not in str(caught.value)
    assert "sesame" not in str(caught.value)


def secret(number: object, status: str = "deployed", age: int | None = 60) -> dict[str, Any]:
    """A Secret of Helm, written age seconds before now, created an hour before. Helm ran on a
    machine whose clock is wrong.
    """
    metadata: dict[str, Any] = {
        "name": f"sh.helm.release.v1.gpu-operator.v{number}",
        "uid": f"uid-{number}",
        "labels": {"version": str(number), "status": status, "modifiedAt": "1"},
        "creationTimestamp": "2026-11-25T11:00:00Z",
    }
    if age is not None:
        written = (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["managedFields"] = [{"time": "2026-11-25T11:00:00Z"}, {}, {"time": written}]
    return {"metadata": metadata}


def test_read_revisions_sorts_by_number() -> None:
    found = read_helm_revisions([secret(10), secret(9, "superseded"), secret("x", "failed")])
    assert [(revision.number, revision.status) for revision in found] == [
        (0, "failed"),
        (9, "superseded"),
        (10, "deployed"),
    ]
    assert found[-1] == HelmRevision(
        "sh.helm.release.v1.gpu-operator.v10",
        "uid-10",
        10,
        "deployed",
        NOW - timedelta(seconds=60),
    )


def test_revision_without_a_list_of_its_writers_is_as_old_as_its_secret() -> None:
    (revision,) = read_helm_revisions([secret(1, age=None)])
    assert revision.age(NOW) == 3600


def test_revision_without_any_time_is_new() -> None:
    (revision,) = read_helm_revisions([{"metadata": {"name": "s"}}])
    assert revision.age(NOW) == 0
    assert (revision.number, revision.status) == (0, "")


def test_age_is_not_negative_where_clocks_differ() -> None:
    (revision,) = read_helm_revisions([secret(1, age=-30)])
    assert revision.age(NOW) == 0


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ([], None),
        ([secret(1)], None),
        ([secret(1, "failed", 9999)], None),
        ([secret(1, "pending-upgrade", 9999), secret(2)], None),
        ([secret(1), secret(2, "pending-upgrade", 600)], 2),
        ([secret(1, "pending-install", 700)], 1),
        ([secret(3, "pending-rollback", 700), secret(2)], 3),
    ],
)
def test_pending_revision(secrets: list[dict[str, Any]], expected: int | None) -> None:
    found = pending_revision(read_helm_revisions(secrets))
    assert (found.number if found else None) == expected


@pytest.mark.parametrize(("age", "left"), [(100, 500), (599, 1), (600, 0), (700, 0)])
def test_pending_revision_that_is_young_may_be_at_work(age: int, left: int) -> None:
    revisions = read_helm_revisions([secret(2, "pending-upgrade", age)])
    assert seconds_left(pending_revision(revisions), NOW, 600) == left
    assert seconds_left(None, NOW, 600) == 0


def test_as_dict() -> None:
    (revision,) = read_helm_revisions([secret(2, "pending-upgrade", 100)])
    assert revision.as_dict(NOW) == {"revision": 2, "status": "pending-upgrade", "age": 100}


def namespace(note: str | None) -> dict[str, Any]:
    annotations = {} if note is None else {"gpufleet.sharing/helm-gpu-operator": note}
    return {"metadata": {"annotations": annotations}}


OURS = ReleaseRecord(installed=True, pointer={})
THEIRS = ReleaseRecord(installed=False, pointer={"name": "theirs"})
KNOWN = ReleaseRecord(installed=True, pointer={}, first="uid-1")
POINTER = {"name": "map", "default": "dev"}
BEGUN = ReleaseRecord(installed=False, pointer=POINTER, installing=True)
SEEN = ReleaseRecord(installed=False, pointer={"name": "seen"})


@pytest.mark.parametrize("note", [OURS, THEIRS, KNOWN, BEGUN])
def test_note_is_read_as_it_was_written(note: ReleaseRecord) -> None:
    assert read_record(namespace(json.dumps(vars(note))), "gpu-operator") == note


@pytest.mark.parametrize(
    "document",
    [None, *map(namespace, (None, "", "{broken", "[]", "null", '{"installed": true}', "7"))],
)
def test_note_that_is_none(document: object) -> None:
    assert read_record(document, "gpu-operator") is None


def test_note_is_of_one_release() -> None:
    assert read_record(namespace(json.dumps(vars(OURS))), "another") is None


@pytest.mark.parametrize(
    ("note", "states", "expected"),
    [
        (None, (), BEGUN),
        (THEIRS, (), BEGUN),  # it is gone, so the one to come is ours
        (KNOWN, (), BEGUN),
        (None, ("deployed",), replace(SEEN, first="uid-1")),
        (None, ("pending-install",), SEEN),  # its Secret is removed
        (None, ("deployed", "pending-upgrade"), replace(SEEN, first="uid-1")),
        (OURS, ("deployed",), KNOWN),
        (THEIRS, ("deployed",), replace(THEIRS, first="uid-1")),
        (BEGUN, ("deployed",), KNOWN),  # the run was killed after Helm had succeeded
        (BEGUN, ("failed",), replace(BEGUN, first="uid-1")),
        (BEGUN, ("pending-install",), BEGUN),
    ],
)
def test_note_before_helm_runs(
    note: ReleaseRecord | None, states: tuple[str, ...], expected: ReleaseRecord
) -> None:
    assert updated_record(note, {"name": "seen"}, POINTER, revisions_in(*states)) == expected


def revisions_in(*states: str) -> list[HelmRevision]:
    return read_helm_revisions(secret(at, state) for at, state in enumerate(states, start=1))


@pytest.mark.parametrize(
    ("note", "states", "succeeded", "expected"),
    [
        (BEGUN, ("deployed",), True, KNOWN),
        (BEGUN, ("failed",), False, replace(BEGUN, first="uid-1")),
        (BEGUN, (), False, None),
        (THEIRS, ("deployed",), True, replace(THEIRS, first="uid-1")),
        (KNOWN, ("deployed", "failed"), False, KNOWN),
        (None, ("deployed",), True, None),
    ],
)
def test_note_after_helm_has_run(
    note: ReleaseRecord | None,
    states: tuple[str, ...],
    succeeded: bool,
    expected: ReleaseRecord | None,
) -> None:
    assert record_after_helm(note, revisions_in(*states), succeeded=succeeded) == expected


@pytest.mark.parametrize(
    ("note", "numbers", "expected"),
    [
        (None, (1,), None),
        (KNOWN, (1, 2), KNOWN),
        (KNOWN, (), KNOWN),
        (KNOWN, (5, 6), KNOWN),
        (OURS, (1,), OURS),
        (replace(KNOWN, first="gone"), (1, 2), None),  # somebody has installed another one
        (replace(KNOWN, first="gone"), (2,), replace(KNOWN, first="gone")),
    ],
)
def test_note_is_of_the_release_that_is_there(
    note: ReleaseRecord | None, numbers: tuple[int, ...], expected: ReleaseRecord | None
) -> None:
    assert record_of(read_helm_revisions(map(secret, numbers)), note, {}) == expected


@pytest.mark.parametrize(
    ("note", "states", "pointer", "expected"),
    [
        (BEGUN, (), {}, BEGUN),
        (BEGUN, ("pending-install",), {}, BEGUN),
        (BEGUN, ("deployed",), POINTER, BEGUN),
        (BEGUN, ("deployed",), {}, None),  # somebody has installed another one since
        (BEGUN, ("failed",), {"name": "theirs"}, None),
        (replace(BEGUN, first="uid-1"), ("failed",), {}, replace(BEGUN, first="uid-1")),
        (replace(BEGUN, first="gone"), ("failed",), POINTER, None),
        (replace(BEGUN, pointer={}), ("deployed",), {}, None),
    ],
)
def test_note_of_an_install_that_has_not_succeeded(
    note: ReleaseRecord,
    states: tuple[str, ...],
    pointer: dict[str, object],
    expected: ReleaseRecord | None,
) -> None:
    assert record_of(revisions_in(*states), note, pointer) == expected


HELM_SAYS = "Failure when executing Helm command. Exited 1.\nstdout: \nstderr: Error: "


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        (
            'INSTALLATION FAILED: Unable to continue with install: ClusterPolicy "cluster-policy"'
            " exists and cannot be imported into the current release: invalid ownership metadata",
            ("cluster-policy", "O(manage): existing"),
        ),
        ("UPGRADE FAILED: context deadline exceeded", ("O(timeout)", "-n gpus")),
        ("INSTALLATION FAILED: timed out waiting for the condition", ("O(timeout)",)),
        ("UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress", ("ended",)),
        (
            "template: a.tpl:38:26: executing at <.Values.validator.repository>:\n  can't evaluate",
            ("validator", "O(values)"),
        ),
        ("secrets is forbidden: User me cannot list", ("permission", "forbidden")),
        ("failed to fetch https://helm.example.com/a.tgz : 404", ("O(chart_ref)",)),
        ('UPGRADE FAILED: spec.a: Unsupported value: "<a>"', ("<a>", "O(values)")),
        ("something else", ("something else", "-v")),
    ],
)
def test_failure_of_helm_is_one_line_with_what_to_do(said: str, facts: tuple[str, ...]) -> None:
    message = failure_message("r", "gpus", f"{HELM_SAYS}{said}\n")
    assert "\n" not in message
    assert "Failure when" not in message
    assert mentions(message, "r", "gpus", "-v", *facts)
    assert "  " not in message


def test_long_failure_is_cut() -> None:
    assert len(failure_message("r", "gpus", f"{HELM_SAYS}{'x' * 5000}")) < 600


def test_foreign_policies_are_those_that_helm_keeps_for_no_release_of_ours() -> None:
    def policy(name: str, release: str, namespace: str) -> dict[str, Any]:
        helm = {"release-name": release, "release-namespace": namespace}
        annotations = {f"meta.helm.sh/{key}": value for key, value in helm.items()}
        return {"metadata": {"name": name, "annotations": annotations}}

    policies = [
        policy("ours", "gpu-operator", "gpu"),
        policy("theirs", "nvidia", "gpu"),
        policy("elsewhere", "gpu-operator", "nvidia"),
        {"metadata": {"name": "by-olm"}},
    ]
    found = foreign_policies(policies, "gpu-operator", "gpu")
    assert found == ["by-olm", "elsewhere", "theirs"]
