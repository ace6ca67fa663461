# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the report as one HTML file, rendered from template/.

The content security policy allows only the file's own script and style sheet, each by its hash.
Names and messages are untrusted: the template escapes them, and the script turns those in the JSON
into text nodes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...module_utils._common.text import split_commands
from .charts import LEVELS, Strip, stacked_bar, strips, timeline
from .model import Node, Report

FOLDER = Path(__file__).with_name("template")
# Only these can end a script element or start a comment in it. Escapes mean the same in JSON.
UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
COLUMNS = (
    "cluster",
    "node",
    "group",
    "profile",
    "product",
    "physical",
    "replicas",
    "expected",
    "actual",
    "used",
    "free",
    "problem",
)
MAX_NAMES = 30  # of nodes in a finding


def as_html(report: Report, read_at: str) -> str:
    """The whole file. read_at is the time at which the clusters were read, for people."""
    style, script = (_read(name) for name in ("page.css", "page.js"))
    node_strips = strips(report.nodes)
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = in_thousands
    environment.filters["split_commands"] = split_commands
    return environment.get_template("page.html.j2").render(
        report=report,
        read_at=read_at,
        # Safe: style and script are our own files, and nothing in data can end the element
        style=Markup(style),
        script=Markup(script),
        data=Markup(embedded(page_data(report, node_strips))),
        policy=content_policy(style, script),
        stacked_bar=stacked_bar,
        strips=node_strips,
        levels=LEVELS,
        timeline=timeline(report.revisions),
        max_names=MAX_NAMES,
    )


def embedded(data: object) -> str:
    """JSON that is safe inside a script element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).translate(UNSAFE)


def content_policy(style: str, script: str) -> str:
    """A policy that allows this style sheet and script, and no loading, sending or framing."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " base-uri 'none'; form-action 'none'"
    )


def page_data(report: Report, node_strips: Sequence[Strip]) -> dict[str, object]:
    """The data of the script: one row of values per node. The cells of strips and the nodes of
    findings are indices of these rows.
    """
    rows = {(node.cluster, node.node): index for index, node in enumerate(report.nodes)}
    return {
        "columns": [*COLUMNS, "gpu", "memory", "ready", "flags"],
        "nodes": [_row(node) for node in report.nodes],
        "strips": [strip.nodes for strip in node_strips],
        "findings": [
            [
                rows[at.cluster, name]
                for at in finding.occurrences
                for name in at.nodes
                if (at.cluster, name) in rows
            ]
            for finding in report.findings
        ],
    }


def in_thousands(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _row(node: Node) -> list[object]:
    values = [getattr(node, column) for column in COLUMNS]
    usage = (node.usage.gpu_utilisation, node.usage.memory)
    return [*values, *usage, node.ready, [flag.value for flag in node.flags]]


def _read(name: str) -> str:
    """A file of the template without its licence, which ends at the first empty line."""
    return (FOLDER / name).read_text(encoding="utf-8").partition("\n\n")[2]


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
