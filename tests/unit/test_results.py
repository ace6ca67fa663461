# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules print, without what every run would say."""

from __future__ import annotations

import json

import pytest

from ansible_collections.gpufleet.sharing.plugins.plugin_utils import _results


def test_without_noise_takes_out_warnings_and_deprecations() -> None:
    """Plain texts, and the mappings that ansible-core 2.19 and newer make of them."""
    said = {
        "changed": True,
        "warnings": ["so noisy", {"event": {"msg": "noisy too"}}, "useful"],
        "deprecations": [{"msg": "noisy"}],
    }
    quiet = json.loads(_results.without_noise(json.dumps(said), ["nois"]))
    assert quiet == {"changed": True, "warnings": ["useful"], "deprecations": []}


@pytest.mark.parametrize("text", ["", "noisy but no JSON", '["noisy"]', '{"warnings": "noisy"}'])
def test_without_noise_leaves_everything_else(text: str) -> None:
    assert _results.without_noise(text, ["noisy"]) == text


def test_without_noise_does_not_touch_what_has_none() -> None:
    assert _results.without_noise('{"a":  1}', ["noisy"]) == '{"a":  1}'


def test_add_warnings_keeps_those_that_are_there() -> None:
    result: dict[str, object] = {"warnings": ["a"]}
    _results.add_warnings(result, ["b"])
    _results.add_warnings(result, [])
    assert result == {"warnings": ["a", "b"]}
