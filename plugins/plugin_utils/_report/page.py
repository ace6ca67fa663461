# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the report as one HTML file, out of the template in template/.

The file may do nothing but run its own script and use its own style sheet, each known to the
browser by its hash. Text of others gets in by the template's escaping, or as JSON that the script
makes text nodes of.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .charts import LEVELS, Strip, stacked_bar, strips, timeline
from .model import Node, Report

FOLDER = Path(__file__).with_name("template")
# Inside a script element only these could end it, or start a comment; in JSON they are the same
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
MOST_NAMES = 30


def as_html(report: Report, made: str) -> str:
    """The whole file. made is when it was made, for people."""
    style, script = (_read(name) for name in ("page.css", "page.js"))
    drawn = strips(report.nodes)
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = in_thousands
    return environment.get_template("page.html.j2").render(
        report=report,
        made=made,
        # Marked as safe: they are ours, and in the last one nothing can end the element
        style=Markup(style),
        script=Markup(script),
        data=Markup(embedded(page_data(report, drawn))),
        policy=content_policy(style, script),
        stacked_bar=stacked_bar,
        strips=drawn,
        levels=LEVELS,
        timeline=timeline(report.revisions),
        most_names=MOST_NAMES,
    )


def embedded(data: object) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).translate(UNSAFE)


def content_policy(style: str, script: str) -> str:
    """Nothing is loaded, sent or framed; only this style sheet and this script are used."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " base-uri 'none'; form-action 'none'"
    )


def page_data(report: Report, drawn: Sequence[Strip]) -> dict[str, object]:
    """What the script shows: nodes as rows without names of columns, and by index in these rows
    the cells of strips and the nodes of findings.
    """
    rows = {(node.cluster, node.node): index for index, node in enumerate(report.nodes)}
    return {
        "columns": [*COLUMNS, "gpu", "memory", "ready", "flags"],
        "nodes": [_row(node) for node in report.nodes],
        "strips": [strip.nodes for strip in drawn],
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
    """A file of ours, without the lines in front of the first empty one, its licence."""
    return (FOLDER / name).read_text(encoding="utf-8").partition("\n\n")[2]


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
