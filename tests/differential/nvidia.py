# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's own parser, as the lab's gpusim links it, and what it makes of many files."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles import flags
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import Flag, Profile
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import (
    Plugin,
    operator_plugin,
)

LAB = Path(__file__).resolve().parents[2] / "tests" / "lab" / "lab"
VERSION = (0, 19, 3)  # of the parser that the lab links
INTERVAL = "gfd.sleepInterval"
LONGEST = 2**63 - 1  # nanoseconds, which the plugin calls infinite
UNITS = {"ns": 1, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


@dataclass(frozen=True)
class Surroundings:
    """Where the plugin runs: options of `gpusim parse`, and the same as we know it."""

    name: str
    options: tuple[str, ...]
    plugin: Plugin


SURROUNDINGS = (
    Surroundings("operator", (), operator_plugin("single", VERSION)),
    Surroundings("mixed", ("--mig-strategy=mixed",), operator_plugin("mixed", VERSION)),
    Surroundings("bare", ("--operator-env=false",), Plugin(VERSION, mig_strategy="none")),
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
        answers = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
        assert len(answers) == len(texts)
        return answers

    def defaults(self, surroundings: Surroundings) -> dict[str, object]:
        """The flags of a file that sets none."""
        return flat(self.ask(["version: v1"], surroundings)[0]["config"]["flags"])


def built() -> Parser:
    """The parser; the lab has been built before, so this only asks where it is."""
    done = subprocess.run([LAB, "build"], check=True, text=True, capture_output=True)
    return Parser(str(Path(done.stderr.strip().rpartition(" ")[2]) / "gpusim"))


def meant(profile: Profile, defaults: dict[str, object]) -> dict[str, object]:
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
        "flags": meant_flags(profile, defaults),
    }


def meant_flags(profile: Profile, defaults: dict[str, object]) -> dict[str, object]:
    """All flags of the plugin: those of the profile, and the defaults for the rest."""
    own = {name: meant_flag(name, flag) for name, flag in profile.content.flags}
    flags = {**defaults, **own}
    if not own.get("nvidiaDevRoot"):  # an empty one means that of the driver
        flags["nvidiaDevRoot"] = flags["nvidiaDriverRoot"]
    return flags


def meant_flag(name: str, flag: Flag) -> object:
    """A flag's value as the parser tells it; a duration in nanoseconds."""
    if name == INTERVAL:
        return LONGEST if flag == "infinite" else flags.nanoseconds(flag)
    return list(flag) if isinstance(flag, tuple) else flag


def understood(answer: dict[str, Any]) -> dict[str, object]:
    """What the plugin has understood: the same, out of the parser's answer."""
    config = answer["config"]
    imex = config.get("imex") or {}
    return {
        **{name: answer[name] for name in ("strategy", "renameByDefault", "resources")},
        "failRequestsGreaterThanOne": answer["failRequestsGreaterThanOne"],
        "imex": {
            "channelIDs": imex.get("channelIDs") or [],
            "required": imex.get("required", False),
        },
        "flags": flat(config["flags"]),
    }


def flat(flags: dict[str, Any]) -> dict[str, object]:
    """Every flag by its dotted name; durations in nanoseconds."""
    found = {name: value for name, value in flags.items() if name not in ("plugin", "gfd")}
    for part in ("plugin", "gfd"):
        found |= {f"{part}.{name}": value for name, value in flags[part].items()}
    if found[INTERVAL] is not None:
        found[INTERVAL] = nanoseconds(found[INTERVAL])
    return found


def nanoseconds(said: str) -> int:
    """A duration as Go prints it (1h0m0.5s), which is exact; read without our own reader."""
    if said == "infinite":
        return LONGEST
    parts = re.findall(r"([0-9.]+)([a-zµ]+)", said)
    total = sum(Decimal(number) * UNITS[unit] for number, unit in parts)
    assert total == int(total), said
    return int(total) * (-1 if said.startswith("-") else 1)
