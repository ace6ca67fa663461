# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the integration tests read what a run printed."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions, naming, read

OUTPUT = """\
TASK [Show] ****
ok: [localhost] => {
    "msg": [
        "group  slots",
        "dev       16"
    ]
}
RAN localhost gpufleet.sharing.profiles ok check
failed: [a -> here] (item={"a": 1}) => {"msg": "one\\ntwo", "problems": ["x is 0", "y is 1"]}
fatal: [east]: FAILED! => {"msg": "third", "invocation": {"module_args": {"secret": 7}}}
ok: [west]
PLAY RECAP
"""


def test_results_are_read_apart_from_other_lines() -> None:
    found = read(OUTPUT)
    assert [result["msg"] for result in found.results] == [
        ["group  slots", "dev       16"],
        "one\ntwo",
        "third",
    ]
    assert [result["msg"] for result in found.failures] == ["one\ntwo", "third"]
    assert "RAN localhost gpufleet.sharing.profiles ok check" in found.lines
    assert not [line for line in found.lines if "problems" in line]


def test_each_line_of_a_text_stands_alone_and_arguments_are_none() -> None:
    texts = read(OUTPUT).texts
    assert naming(texts, "x", 0) == ["problems: x is 0"]
    assert naming(texts, "dev", 16) == ["msg: dev       16"]
    assert naming(texts, "one") != []
    assert naming(texts, "one", "two") == []
    assert naming(texts, 7) == []


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("dev-gpu-01: 8 slots", "dev-gpu-01", True),
        ("dev-gpu-010: 8 slots", "dev-gpu-01", False),
        ("dev-gpu-01: 18 slots", 8, False),
        ("nvidia.com/gpu.shared", "nvidia.com/gpu", False),
        ("ends with nvidia.com/gpu.", "nvidia.com/gpu", True),
        ('+    "dev-gpu-01": "dev"', "dev", True),
        ('+    "dev-gpu-01": "default"', "dev", False),
        ('+    "dev-gpu-01": "dev"', "+", True),
        ("0.8 of them", 8, False),
        ("--limit prod", "--limit", True),
    ],
)
def test_values_are_words_of_their_own(text: str, value: object, found: bool) -> None:
    assert mentions(text, value) == found
