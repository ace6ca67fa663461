# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of a Helm release: what it has, over them the user's, over these the pointer."""

from __future__ import annotations

import json

import pytest

from ansible_collections.gpufleet.sharing.plugins.action.helm_release import merge_values

HAS = {"driver": {"enabled": True, "version": "1"}, "devicePlugin": {"config": {"name": "old"}}}
POINTER = {"name": "map", "default": "dev"}


@pytest.mark.parametrize(
    ("exact", "driver"),
    [(False, {"enabled": False, "version": "1"}), ("yes", {"enabled": False})],
)
def test_merge_values(exact: object, driver: dict[str, object]) -> None:
    options = {"values": {"driver": {"enabled": False}}, "pointer": POINTER, "values_exact": exact}
    found = merge_values(HAS, options)
    assert found == {"driver": driver, "devicePlugin": {"config": POINTER}}


def test_merge_values_of_texts() -> None:
    """As an extra variable that is no YAML gives them, and as modules take them."""
    options = {"values": {"driver": {"enabled": False}}, "pointer": POINTER}
    texts = {name: json.dumps(value) for name, value in options.items()}
    assert merge_values(HAS, texts) == merge_values(HAS, options)
