# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON that is sent: as Go lays it out, and nothing but a layout."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils import _kube


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"b": [1, 2], "a": {"d": None, "c": True}}, '{"a":{"c":true,"d":null},"b":[1,2]}'),
        ({"a": "<&>"}, '{"a":"\\u003c\\u0026\\u003e"}'),
        ({"é": "\u2028"}, '{"\\u00e9":"\\u2028"}'),
        ({}, "{}"),
    ],
)
def test_encode(body: dict[str, object], expected: str) -> None:
    assert _kube._encode(body) == expected


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans()))
def test_encode_changes_nothing(body: dict[str, object]) -> None:
    text = _kube._encode(body)
    assert text.isascii()
    assert json.loads(text) == body
