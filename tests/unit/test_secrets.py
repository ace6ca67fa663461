# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is hidden in messages and results, and what stays readable."""

from __future__ import annotations

import base64
import json

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import SharingError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.secrets import (
    HIDDEN,
    Secrets,
    hidden,
    is_content,
    secrets_of_options,
    secrets_of_values,
    without_userinfo,
)

PEM = "-----BEGIN PRIVATE KEY-----\nc2VzYW1lc2VzYW1l\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("get https://ann:sesame@host:1/a failed", f"get https://{HIDDEN}@host:1/a failed"),
        ("http://sesame@host", f"http://{HIDDEN}@host"),
        ("http://ann:ses/ame@host", f"http://{HIDDEN}@host"),
        (
            "http://ann:ses@me@host and http://b:sesame@c",
            f"http://{HIDDEN}@host and http://{HIDDEN}@c",
        ),
        ("https://host:443/a", "https://host:443/a"),
        ("https://host/charts by ann@example.com", "https://host/charts by ann@example.com"),
        ("user@host", "user@host"),
    ],
)
def test_urls_have_no_password(text: str, shown: str) -> None:
    assert without_userinfo(text) == shown
    assert str(SharingError(text, [text])) == shown
    assert SharingError(text, [text]).problems == (shown,)


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("/etc/kubeconfig", False),
        ("a:b", False),
        ("/etc/kubeconfig\n", False),  # of a text area
        ('{"a": 1}', True),
        ("a: b\nc: d", True),
        ("-----BEGIN CERTIFICATE----- x", True),
    ],
)
def test_content_and_paths(value: str, content: bool) -> None:
    assert is_content(value) is content


def test_values_are_replaced_by_their_keys() -> None:
    values = {
        "driver": {"env": [{"name": "HTTPS_PROXY", "value": "http://ann:sesame1@proxy:3128"}]},
        "pull": {"password": 's3"same', "pem": PEM, "pin": 271828},
        "on": True,
        "tag": "v1",
    }
    secrets = Secrets(secrets_of_values(values))
    said = secrets.hide(
        f"invalid: {json.dumps(values)} sesame1 {base64.b64encode(b'ann:sesame1').decode()}"
    )
    for secret in ("sesame1", "s3", "c2VzYW1lc2VzYW1l", "271828"):
        assert secret not in said
    assert "<pull.password>" in said
    assert "<driver.env[0].value>" in said
    assert '"tag": "v1"' in said
    assert '"on": true' in said


def test_short_values_are_hidden_as_words_only() -> None:
    secrets = Secrets(secrets_of_values({"a": "open"}))
    assert secrets.hide("reopen, open: opened") == "reopen, <a>: opened"


def test_lines_of_a_value_are_hidden_when_folded() -> None:
    secrets = Secrets(secrets_of_values({"key": PEM}))
    assert "c2VzYW1l" not in secrets.hide("got: " + " ".join(PEM.split()))
    assert "c2VzYW1l" not in str(secrets.hide_in({"a": [PEM, {"b": PEM.splitlines()[1]}]}))


def test_secrets_of_connection_options() -> None:
    user = {
        "token": "tok-sesame",
        "exec": {
            "args": ["login", "--secret=arg-sesame"],
            "env": [{"name": "S", "value": "env-sesame"}],
        },
    }
    options = {
        "api_key": "key-sesame",
        "kubeconfig": {"users": [{"name": "a", "user": user}]},
        "proxy": "http://ann:prx-sesame@proxy",
        "client_key": PEM,
        "ca_cert": "/etc/ca.crt",
        "host": "https://host",
    }
    known = Secrets(secrets_of_options(options))
    for secret in ("tok-sesame", "arg-sesame", "env-sesame", "key-sesame", "prx-sesame"):
        assert known.hide(f"x {secret}!") == f"x {HIDDEN}!"
    assert known.hide("login /etc/ca.crt https://host") == "login /etc/ca.crt https://host"


def test_options_are_hidden_by_name() -> None:
    given = {"values": {"a": "sesame"}, "chart_repo_url": "https://a:sesame@b", "name": "x"}
    shown = {"values": HIDDEN, "chart_repo_url": f"https://{HIDDEN}@b", "name": "x"}
    assert hidden(given | {"api_key": "", "operator": given}) == {
        **shown,
        "api_key": "",
        "operator": shown,
    }
