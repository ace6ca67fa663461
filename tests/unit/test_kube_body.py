# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON that is sent, as Go lays it out; and answers that are none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils import _kube
from ansible_collections.gpufleet.sharing.plugins.module_utils._errors import ClusterError
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import SERVER, FakeApi


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


LOGIN = b"<html>\n <title>Log in</title>\n</html>"


@pytest.mark.parametrize("data", [LOGIN, b'"log in"', b"null", b"[]", b"\xff"])
def test_answer_that_is_no_object_is_not_taken_for_an_empty_list(data: bytes) -> None:
    with pytest.raises(ClusterError) as caught:
        FakeApi().cluster._answer("GET", _kube.NODES, 200, data)
    assert str(caught.value).startswith(f"{SERVER} answers GET /api/v1/nodes with what is no")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (LOGIN, "<html> <title>Log in</title> </html>"),
        (b'"busy"', '"busy"'),
        (b"null", "null"),
        (b'{"message": "no"}', "no"),
        (b"", "HTTP status 503"),
    ],
)
def test_failure_in_other_words_than_those_of_kubernetes(data: bytes, said: str) -> None:
    with pytest.raises(ClusterError) as caught:
        FakeApi().cluster._answer("GET", _kube.NODES, 503, data)
    assert caught.value.status == 503
    assert caught.value.said == said
