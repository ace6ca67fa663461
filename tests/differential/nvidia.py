# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's own parser, as the lab's gpusim links it, and what it makes of many files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.gpufleet.sharing.plugins.module_utils import _plugin_file
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles import Profile

LAB = Path(__file__).resolve().parents[2] / "tests" / "lab" / "lab"
VERSION = (0, 19, 3)  # of the parser that the lab links


@dataclass(frozen=True)
class Surroundings:
    """Where the plugin runs: options of `gpusim parse`, and the same as we know it."""

    name: str
    options: tuple[str, ...]
    plugin: _plugin_file.Plugin


SURROUNDINGS = (
    Surroundings("operator", (), _plugin_file.operator_plugin("single", VERSION)),
    Surroundings(
        "mixed", ("--mig-strategy=mixed",), _plugin_file.operator_plugin("mixed", VERSION)
    ),
    Surroundings(
        "bare", ("--operator-env=false",), _plugin_file.Plugin(VERSION, mig_strategy="none")
    ),
)


@dataclass(frozen=True)
class Parser:
    """The program gpusim."""

    program: str

    def ask(self, texts: Sequence[str], surroundings: Surroundings) -> list[dict[str, Any]]:
        """What the plugin makes of each file."""
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        command = [self.program, "parse", "--lines", *surroundings.options]
        done = subprocess.run(command, input=lines, check=True, text=True, capture_output=True)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(texts)
        return answers


def built() -> Parser:
    """The parser; the lab has been built before, so this only asks where it is."""
    done = subprocess.run([LAB, "build"], check=True, text=True, capture_output=True)
    return Parser(str(Path(done.stderr.strip().rpartition(" ")[2]) / "gpusim"))


def meant(profile: Profile) -> dict[str, object]:
    """What a profile means, in the words of the parser's answer. MPS before v0.20.0 always fails
    requests above 1.
    """
    content = profile.content
    fails = content.fail_requests_greater_than_one or content.mps
    return {
        "strategy": profile.strategy,
        "renameByDefault": content.rename_by_default if content.resources else False,
        "failRequestsGreaterThanOne": fails if content.resources else False,
        "resources": [
            {"name": resource.name, "replicas": resource.replicas}
            | ({"rename": profile.advertised(resource.name)} if content.rename_by_default else {})
            for resource in content.resources
        ],
        "imex": {"channelIDs": list(content.imex.channels), "required": content.imex.required},
        "flags": {name: said(name, flag) for name, flag in counted(profile)},
    }


def understood(answer: dict[str, Any], profile: Profile) -> dict[str, object]:
    """What the plugin has understood: the same, out of the parser's answer. Of its flags, those
    that the profile sets.
    """
    config = answer["config"]
    imex = config.get("imex") or {}
    return {
        **{name: answer[name] for name in ("strategy", "renameByDefault", "resources")},
        "failRequestsGreaterThanOne": answer["failRequestsGreaterThanOne"],
        "imex": {
            "channelIDs": imex.get("channelIDs") or [],
            "required": imex.get("required", False),
        },
        "flags": {name: said(name, at(config["flags"], name)) for name, _flag in counted(profile)},
    }


def counted(profile: Profile) -> list[tuple[str, _plugin_file.Flag]]:
    """The flags that say something: an empty nvidiaDevRoot means that of the driver."""
    return [entry for entry in profile.content.flags if entry != ("nvidiaDevRoot", "")]


def at(flags: dict[str, Any], name: str) -> object:
    part, dot, inner = name.partition(".")
    return flags[part][inner] if dot else flags[part]


def said(name: str, value: object) -> object:
    """A flag's value, comparable: durations in nanoseconds, lists as tuples."""
    if name == "gfd.sleepInterval":
        return value if value == "infinite" else _plugin_file.nanoseconds(value)
    return tuple(value) if isinstance(value, list | tuple) else value
