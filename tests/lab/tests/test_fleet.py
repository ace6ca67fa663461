# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading fleet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gpulab.errors import LabError
from gpulab.fleet import CPU_NODE, Taint, load_fleet, parse_fleet
from gpulab.mig import Mig
from gpulab.nodes import node_object
from gpulab.padding import served_size
from gpulab.pki import Pair
from gpulab.programs import Files, gpusim
from gpulab.timing import MEASURED, SETTINGS

FLEETS = Path(__file__).resolve().parents[1] / "fleets"


@pytest.mark.parametrize(
    ("file", "nodes", "gpus"), [("small.yml", 6, 10), ("demo.yml", 12, 38), ("mig.yml", 7, 9)]
)
def test_load_fleet_shipped(file: str, nodes: int, gpus: int) -> None:
    fleet = load_fleet(FLEETS / file, {})
    assert len(fleet.nodes()) == nodes
    assert sum(node.gpus for node in fleet.nodes()) == gpus
    assert fleet.settings == SETTINGS


def test_load_fleet_rollout() -> None:
    fleet = load_fleet(FLEETS / "rollout.yml", {})
    assert sum(node.gpus > 0 for node in fleet.nodes()) == 200
    seconds = {
        name: float(value.removesuffix("s").removesuffix("m")) / (1000 if "ms" in value else 1)
        for name, value in fleet.settings.items()
    }
    assert seconds["publish"] < seconds["restart"]  # 0 slots are seen
    assert seconds["publish"] < seconds["switch_delay"]  # and those of the default


def test_nodes_are_numbered_with_two_digits_or_more() -> None:
    groups = {"a": {"nodes": 2}, "b": {"nodes": 100}, "c": {"prefix": "a", "start": 3, "nodes": 1}}
    names = [node.name for node in parse_fleet({"groups": groups}, {}, "f").nodes()]
    assert names[:3] == [CPU_NODE, "a-01", "a-02"]
    assert names[3] == "b-001"
    assert names[-1] == "a-03"


def test_settings_are_overridden() -> None:
    data = {"groups": {"a": {"nodes": 1}}, "settings": {"publish": "1s", "restart": "2s"}}
    fleet = parse_fleet(data, {"publish": "10ms"}, "f")
    assert (fleet.settings["publish"], fleet.settings["restart"]) == ("10ms", "2s")


def test_timings() -> None:
    data = {"groups": {"a": {"nodes": 1}}, "timing": "measured", "settings": {"restart": "2s"}}
    assert parse_fleet(data, {}, "f").settings == {**MEASURED, "restart": "2s"}
    assert parse_fleet(data, {"refresh": "1s..2s"}, "f", "fast").settings == {
        **SETTINGS,
        "refresh": "1s..2s",
    }
    assert set(MEASURED) == set(SETTINGS)


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        ({"timing": "real"}, ("f: timing", "fast, measured", "'real'")),
        ({"timing": ["fast"]}, ("f: timing", "fast, measured", "['fast']")),
        ({"settings": {"forget": "1s..2s"}}, ("f: forget", "300ms", "'1s..2s'")),
        ({"settings": {"restart": "1s.."}}, ("f: restart", "1s..3s", "'1s..'")),
    ],
)
def test_timings_that_are_none(body: dict[str, object], facts: tuple[str, ...]) -> None:
    with pytest.raises(LabError) as error:
        parse_fleet({"groups": {"a": {"nodes": 1}}, **body}, {}, "f")
    assert [fact for fact in facts if fact not in str(error.value)] == []


def test_group_values() -> None:
    taint = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
    group = {
        "nodes": 1,
        "gpus": 2,
        "product": "P",
        "memory": 5,
        "labels": {"x": "y"},
        "taints": [taint],
    }
    node = parse_fleet({"groups": {"g": group}}, {}, "f").nodes()[1]
    assert (node.gpus, node.product, node.memory, node.labels) == (2, "P", 5, {"x": "y"})
    assert node.taints == (Taint("nvidia.com/gpu", "", "NoSchedule"),)


def cut(mig: object, gpus: int = 2, product: str = "A100", memory: int = 81920) -> Mig | None:
    """What a group makes of the key mig."""
    group = {"nodes": 1, "gpus": gpus, "product": product, "memory": memory, "mig": mig}
    return parse_fleet({"groups": {"g": group}}, {}, "f").nodes()[1].mig


@pytest.mark.parametrize(
    ("mig", "memory", "annotation", "config"),
    [
        ({"1g.10gb": 7}, 81920, '{"1g.10gb":7}', "all-1g.10gb"),
        ({"1g.10gb": 4}, 40960, '{"1g.10gb":4}', "all-1g.10gb"),
        ({"1g.10gb": 3}, 81920, '{"1g.10gb":3}', "custom"),
        ({}, 81920, "{}", "all-enabled"),
        (
            {"3g.40gb": 1, "1g.10gb": 2, "2g.20gb": 1},
            81920,
            '{"1g.10gb":2,"2g.20gb":1,"3g.40gb":1}',
            "all-balanced",
        ),
        ([{"7g.80gb": 1}, None], 81920, '[{"7g.80gb":1},null]', "custom"),
    ],
)
def test_mig_layouts(mig: object, memory: int, annotation: str, config: str) -> None:
    assert cut(mig, memory=memory) == Mig(annotation, config)


def test_no_mig() -> None:
    assert cut(None) is None


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"mig": {}, "gpus": 0}, ("gpus", "'A100'")),
        ({"mig": {}, "product": "NVIDIA-A10"}, ("'A100'", "'NVIDIA-A10'")),
        ({"mig": "all-1g.10gb"}, ("{PROFILE: DEVICES}",)),
        ({"mig": {"1g.5gb": 1}}, ("'1g.5gb'", "1g.10gb, 1g.20gb")),
        ({"mig": {"1g.10gb": 0}}, ("1g.10gb", ">= 1", "0")),
        ({"mig": {"1g.10gb": True}}, ("1g.10gb", ">= 1", "True")),
        ({"mig": {"1g.10gb": 8}}, ("8 of 7 ", "8 of 8 ")),
        ({"mig": [{"1g.10gb": 7}]}, ("1 ", "2 GPUs", "null")),
    ],
)
def test_mig_refused(options: dict[str, Any], facts: tuple[str, ...]) -> None:
    with pytest.raises(LabError) as caught:
        cut(**options)
    assert str(caught.value).startswith("f: groups.g: mig")
    assert [fact for fact in facts if fact not in str(caught.value)] == []


def test_equal_fleets_have_equal_dicts() -> None:
    one = {"groups": {"a": {"nodes": 2, "labels": {"x": "1", "y": "2"}}}}
    two = {"groups": {"a": {"labels": {"y": "2", "x": "1"}, "nodes": 2}}}
    assert parse_fleet(one, {}, "f").as_dict() == parse_fleet(two, {}, "g").as_dict()


@pytest.mark.parametrize(("data", "played"), [({}, True), ({"operator": False}, False)])
def test_the_operator_is_played_unless_told_otherwise(
    data: dict[str, object], played: bool, tmp_path: Path
) -> None:
    fleet = parse_fleet({"groups": {"a": {"nodes": 1}}, **data}, {}, "f")
    files = Files(tmp_path, tmp_path, {}, tmp_path, Pair(tmp_path, tmp_path), tmp_path)
    command = gpusim(files, fleet.settings, operator=fleet.operator)
    assert ("--nodes-only" not in command) is played is fleet.as_dict()["operator"]


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        ([], ("f ", "mapping")),
        ({"groups": {}}, ("groups",)),
        (
            {"groups": {"a": {"nodes": 1}}, "nodes": 3},
            ("'nodes'", "fairness, groups, operator, settings"),
        ),
        ({"groups": {"a": {"nodes": 1, "gpu": 3}}}, ("groups.a: ", "'gpu'")),
        ({"groups": {"a": {}}}, ("groups.a: nodes", ">= 1", "None")),
        ({"groups": {"a": {"nodes": True}}}, ("groups.a: nodes", ">= 1", "True")),
        ({"groups": {"a": {"nodes": 1, "gpus": -1}}}, ("gpus", ">= 0", "-1")),
        ({"groups": {"A": {"nodes": 1}}}, ("'A'",)),
        ({"groups": {"a": {"nodes": 1, "labels": {"x": 1}}}}, ("label x ", "string", "1")),
        ({"groups": {"a": {"nodes": 1, "taints": {"k": "v"}}}}, ("taints", "list")),
        ({"groups": {"a": {"nodes": 1, "taints": [{"key": "k", "effect": "No"}]}}}, ("effect",)),
        ({"groups": {"a": {"nodes": 1}, "b": {"nodes": 1, "prefix": "a"}}}, ("a-01", " a ", " b")),
        ({"groups": {"a": {"nodes": 1}}, "settings": {"publish": 3}}, ("publish", "duration")),
        ({"groups": {"a": {"nodes": 1}}, "settings": {"speed": "3s"}}, ("'speed'",)),
        ({"groups": {"a": {"nodes": 1}}, "fairness": "yes"}, ("fairness", "true", "false")),
        ({"groups": {"a": {"nodes": 1}}, "operator": "real"}, ("operator", "true", "false")),
        ({"groups": {"a": {"nodes": 1, "object_size": 15}}}, ("11KB", "19KB", "15")),
        ({"groups": {"a": {"nodes": 1, "object_size": "15"}}}, ("11KB", "19KB", "'15'")),
        ({"groups": {"a": {"nodes": 1, "object_size": "1MB"}}}, ("11KB", "19KB", "'1MB'")),
        ({"groups": {"a": {"nodes": 1, "object_size": "25KB"}}}, ("11KB", "19KB", "'25KB'")),
    ],
)
def test_refused(data: object, facts: tuple[str, ...]) -> None:
    with pytest.raises(LabError) as caught:
        parse_fleet(data, {}, "f")
    assert [fact for fact in facts if fact not in str(caught.value)] == []


@pytest.mark.parametrize("kilobytes", [11, 15, 18.5, 19])
def test_objects_are_padded(kilobytes: float) -> None:
    group = {"nodes": 2, "gpus": 1, "object_size": f"{kilobytes}KB"}
    fleet = parse_fleet({"groups": {"g": group}}, {}, "f")
    cpu, one, two = (node_object(node, 1, "v1", "2026-01-01T00:00:00Z") for node in fleet.nodes())
    for node in (one, two):
        assert served_size(node) == pytest.approx(kilobytes * 1000, rel=0.03)
        assert len(node["status"]["images"]) <= 50
        assert node["metadata"]["labels"]["feature.node.kubernetes.io/pci-10de.present"] == "true"
        assert not any(label.startswith("nvidia.com/") for label in node["metadata"]["labels"])
    assert one["status"]["images"] != two["status"]["images"]
    assert "images" not in cpu["status"]


def test_file_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"none\.yml"):
        load_fleet(tmp_path / "none.yml", {})
    (tmp_path / "bad.yml").write_text("a: [")
    with pytest.raises(LabError, match=r"bad\.yml.*YAML"):
        load_fleet(tmp_path / "bad.yml", {})
