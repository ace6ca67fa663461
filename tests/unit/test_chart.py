# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a chart cannot be read, from what Helm 3.22 prints."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.chart import (
    chart_reason,
    unreadable_chart,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

URL = "https://helm.ngc.nvidia.com/nvidia"
LOOKS_LIKE = f'looks like "{URL}" is not a valid chart repository or cannot be reached: '
GET = f'{LOOKS_LIKE}Get "{URL}/index.yaml": '
TLS = "tls: failed to verify certificate: x509: certificate signed by unknown authority"


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        (
            f"{GET}dial tcp: lookup helm.ngc.nvidia.com on 10.0.0.1:53: no such host",
            ("name helm.ngc.nvidia.com",),
        ),
        (
            f"{GET}dial tcp: lookup helm.ngc.nvidia.com: no such host",
            ("name helm.ngc.nvidia.com",),
        ),
        (
            f"{GET}dial tcp 127.0.0.1:1: connect: connection refused",
            ("127.0.0.1:1", "refuse"),
        ),
        (
            f"{GET}proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused",
            ("proxy 127.0.0.1:1",),
        ),
        (
            f"{GET}proxyconnect tcp: dial tcp: lookup proxy.example on 10.0.0.1:53: no such host",
            ("proxy proxy.example",),
        ),
        (f"{GET}dial tcp 10.9.9.9:443: connect: no route to host", ("route",)),
        (f"{GET}dial tcp 10.9.9.9:443: i/o timeout", ("answer",)),
        (f"{GET}context deadline exceeded (Client.Timeout exceeded)", ("answer",)),
        (f"{GET}{TLS}", ("certificate", "unknown authority")),
        (f"{GET}tls: first record does not look like a TLS handshake", ("TLS",)),
        (f"{GET}Proxy Authentication Required 407", ("proxy", "credentials")),
        (f"{LOOKS_LIKE}failed to fetch {URL}/index.yaml : 403 Forbidden", ("credentials",)),
        (f"{LOOKS_LIKE}failed to fetch {URL}/index.yaml : 404 Not Found", ("404",)),
        (f'chart "gpu-operator" version "v1.0.0" not found in {URL} repository', ("v1.0.0",)),
        (f'chart "other" not found in {URL} repository', ("chart",)),
        ('path "./nope" not found', ("file",)),
        ("stat /srv/nope.tgz: no such file or directory", ("file",)),
        ("Chart.yaml file is missing", ("Chart.yaml",)),
        ("repo nvidia not found", ("nvidia", "repository")),
        ("non-absolute URLs should be in form of repo_name/path_to_chart, got: c", ("path",)),
        ("could not find protocol handler for: ", ("https://",)),
    ],
)
def test_reason_is_short_and_names_the_place(said: str, facts: tuple[str, ...]) -> None:
    reason = chart_reason(f"Error: {said}\n")
    assert mentions(reason, *facts)
    assert len(reason) < 100


def test_message_names_chart_repository_and_settings_without_the_words_of_helm() -> None:
    said = f"Error: {GET}dial tcp 127.0.0.1:1: connect: connection refused\n"
    message = unreadable_chart("gpu-operator", URL, said)
    assert mentions(message, "gpu-operator", URL, "O(chart_ref)", "O(chart_repo_url)", "-v")
    assert mentions(message, "docs/operator.md#air-gapped")
    assert "looks like" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        (
            f'Error: chart "c" version "v1" not found in {URL} repository',
            ("v1", "O(chart_version)"),
        ),
        ("Error: an error that is not known yet\n", ("O(chart_ref)", "-v")),
    ],
)
def test_message_of_a_version_and_of_an_unknown_error(said: str, facts: tuple[str, ...]) -> None:
    message = unreadable_chart("c", "", said)
    assert mentions(message, "chart c:", *facts)
    assert "not known yet" not in message
