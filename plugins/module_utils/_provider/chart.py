# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: why Helm cannot read a chart, in one line, from what it prints."""

from __future__ import annotations

import re

from .._common.links import AIR_GAPPED

CHECK_CHART = (
    "Check O(chart_ref) and O(chart_repo_url). If the controller cannot reach the repository, give"
    f" it a copy of the chart: {AIR_GAPPED}"
)
VERBOSE = "-v shows Helm's whole output"
CHECK_VERSION = "Check O(chart_version), and whether the repository is up to date."
_WITHOUT_VERSION = "it does not have the version"
# What Helm prints -> the reason. The first that fits; {0} is what the pattern captures.
_REASONS = (
    (
        r"proxyconnect \w+: dial tcp:? (?:lookup )?(\S+?)(?: on \S+)?: ",
        "the proxy {0} cannot be reached",
    ),
    (r"lookup (\S+?)(?: on \S+)?: ", "the name {0} cannot be resolved"),
    (r"dial tcp (\S+): connect: connection refused", "{0} refuses the connection"),
    (r"no route to host|network is unreachable", "there is no route to it"),
    (r"i/o timeout|deadline exceeded|Client\.Timeout", "it does not answer"),
    (r"x509: ([^\n]+)", "its TLS certificate is not trusted ({0})"),
    (r"\btls: |http: server gave HTTP response", "it does not speak TLS"),
    (r"\b407\b", "the proxy requires credentials"),
    (r"\b40[13]\b|unauthorized|denied|forbidden", "it does not accept the credentials"),
    (r'version "([^"]*)" not found', f"{_WITHOUT_VERSION} {{0}}"),
    (r'chart "[^"]*" not found', "it does not have this chart"),
    (r"\b404\b", "it is not a chart repository (404 Not Found)"),
    (r"no such file|path \S+ not found", "there is no such file or folder on the controller"),
    (r"Chart\.yaml file is missing", "the folder has no Chart.yaml"),
    (r"repo (\S+) not found", "Helm on the controller has no repository {0}"),
    (r"non-absolute URLs", "it is neither a path on the controller nor repository/name"),
    (r"protocol handler", "the URL of the repository has no scheme such as https://"),
)


def chart_reason(said: str) -> str:
    """Why Helm could not read a chart, from what it printed; empty where that is not known."""
    for pattern, reason in _REASONS:
        if found := re.search(pattern, said, re.IGNORECASE):
            return reason.format(*found.groups())
    return ""


def unreadable_chart(chart: str, repository: str, said: str) -> str:
    """The message for a chart that `helm show chart` cannot read. said is what it printed."""
    place = f" of {repository}" if repository else ""
    reason = chart_reason(said) or "Helm rejects it"
    check = CHECK_VERSION if reason.startswith(_WITHOUT_VERSION) else CHECK_CHART
    return f"Helm cannot read the chart {chart}{place}: {reason} ({VERBOSE}). {check}"
