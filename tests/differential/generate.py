# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files of the device plugin: valid ones, mutated ones, and ones meant to break a
reader. The same seed gives the same files.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, MutableMapping, MutableSequence
from typing import Any

import yaml

NAMES = ("gpu", "nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "mig-2g.10gb", "mig-1g.10gb.me")
ODD_NAMES = (
    "nvidia.com/GPU",
    "gpu.shared",
    "amd.com/gpu",
    "nvidia.com/",
    "",
    "-gpu",
    "gpu-",
    "a" * 52,
    "a" * 53,
    "mig-",
    "mig-9z",
    "mig-9g.99gb",
    "mig-1c.3g.20gb",
    "nvidia.com/nvidia.com/gpu",
    "gpü",
    "gpu\n",
)
SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, 4, 48, 49, -1, 10**6, 2**31, 2**53 + 1),
    *(2**63 - 1, 2**63, 2**64, 10**30, 4.0, 4.5, -0.0, 1e3, 1e21, 1e300),
    *("", "4", "four", "true", "yes", "null", "all", "v1", "V1", "v2", "0x10", "1e3", "~"),
    *("single", "mixed", "none", "auto", "tegra", "vfio", "uuid", "index", "envvar", "cdi-cri"),
    *("60s", "1m30s", "1h2", "infinite", "-5ms", ".5s", "1.s", "99999999h", "packed"),
    *("ünïcode", "日本", "a\tb", "\u2028", "\U0001f600", "/run/nvidia/mps", "<<", "="),
    *([], {}, [0], [1], [None], [0, 0], ["envvar", "cdi-cri"], {"all": True}, [[]], {"": ""}),
)
WORDS = (
    *("010", "08", "0o10", "0b11", "0x1F", "1_000", "+4", "-0b1", "1:30", "1e3", "4.", ".5"),
    *(".nan", "-.inf", ".NaN", "y", "N", "on", "Off", "~", "null", "2001-01-01", "0x", "_1"),
    *("1__0", "9223372036854775808", "18446744073709551616", "1e400", "0777", "00", "-", "+"),
    *("!!str 4", "!!int '4'", "!custom 4", "!!binary NA==", "'4'", '"4"', "|\n  4", "? 4"),
    *("*a", "&a 4", "<<", "4 # four", "4#four", "@4", "`4", "%4", "4\t", "\t4", "{", "]"),
)
FLAGS: dict[str, tuple[Any, ...]] = {
    "migStrategy": ("none", "single", "mixed"),
    "failOnInitError": (True, False),
    "mpsRoot": ("/run/nvidia/mps",),
    "nvidiaDriverRoot": ("/", "/run/nvidia/driver"),
    "nvidiaDevRoot": ("/",),
    "gdrcopyEnabled": (True, False),
    "gdsEnabled": (True, False),
    "mofedEnabled": (True, False),
    "useNodeFeatureAPI": (True, False),
    "deviceDiscoveryStrategy": ("auto", "nvml", "tegra"),
}
PLUGIN_FLAGS: dict[str, tuple[Any, ...]] = {
    "passDeviceSpecs": (True, False),
    "deviceListStrategy": ("envvar", "volume-mounts", ["cdi-annotations", "cdi-cri"]),
    "deviceIDStrategy": ("uuid", "index"),
    "cdiAnnotationPrefix": ("cdi.k8s.io/",),
    "nvidiaCTKPath": ("/usr/bin/nvidia-ctk",),
    "containerDriverRoot": ("/driver-root",),
}
GFD_FLAGS: dict[str, tuple[Any, ...]] = {
    "oneshot": (False,),
    "noTimestamp": (True, False),
    "sleepInterval": ("60s", "1m30s", 60000000000, "infinite"),
    "outputFile": ("/tmp/gfd",),
    "machineTypeFile": ("/sys/class/dmi/id/product_name",),
}
KEYS = (
    *("version", "flags", "resources", "sharing", "imex", "timeSlicing", "mps", "plugin", "gfd"),
    *("renameByDefault", "failRequestsGreaterThanOne", "name", "replicas", "rename", "devices"),
    *("Sharing", "VERSION", "timeslicing", "Replicas", "\u017fharing", "flag\u017f", "gpus", "mig"),
    *("channelIDs", "required", "unknown", "", "1", "true", *FLAGS, *PLUGIN_FLAGS, *GFD_FLAGS),
)


def some_of(rng: random.Random, table: dict[str, tuple[Any, ...]], chance: float) -> dict[str, Any]:
    return {name: rng.choice(values) for name, values in table.items() if rng.random() < chance}


def strategy(rng: random.Random, *, mps: bool) -> dict[str, Any]:
    names = rng.sample(NAMES, rng.choice((1, 1, 1, 2)))
    top = 48 if mps else rng.choice((8, 100, 10**6))
    entries: list[Any] = [{"name": name, "replicas": rng.randint(2, top)} for name in names]
    for entry in entries:
        if rng.random() < 0.1:
            entry["devices"] = "all"
    found: dict[str, Any] = {"resources": entries}
    for name in ("renameByDefault", "failRequestsGreaterThanOne"):
        if rng.random() < 0.6:
            found[name] = rng.random() < 0.5
    return found


def valid(rng: random.Random) -> dict[str, Any]:
    """A file that a person could have meant."""
    found: dict[str, Any] = {"version": "v1"} if rng.random() < 0.9 else {}
    if rng.random() < 0.85:
        name = "mps" if rng.random() < 0.3 else "timeSlicing"
        found["sharing"] = {name: strategy(rng, mps=name == "mps")}
    if rng.random() < 0.3:
        flags = some_of(rng, FLAGS, 0.2)
        if rng.random() < 0.5:
            flags["plugin"] = some_of(rng, PLUGIN_FLAGS, 0.3)
        if rng.random() < 0.5:
            flags["gfd"] = some_of(rng, GFD_FLAGS, 0.3)
        found["flags"] = flags
    if rng.random() < 0.15:
        found["imex"] = {"channelIDs": rng.choice(([], [0])), "required": rng.random() < 0.5}
    return found


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) of a document."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, MutableMapping):
        pairs = list(value.items())
    elif isinstance(value, MutableSequence):
        pairs = list(enumerate(value))
    for key, inner in pairs:
        yield value, key
        yield from places(inner)


def mutate(rng: random.Random, document: Any) -> Any:
    """Change one place: a value, a key, one more, one fewer."""
    document = copy.deepcopy(document)
    found = list(places(document))
    if not found:
        return rng.choice(SCALARS)
    container, key = rng.choice(found)
    kind = rng.randrange(7)
    if kind <= 1:
        container[key] = copy.deepcopy(rng.choice(SCALARS))
    elif kind == 2:
        del container[key]
    elif kind == 3 and isinstance(container, MutableMapping):
        container[rng.choice(KEYS)] = container.pop(key)
    elif kind == 4 and isinstance(container, MutableMapping):
        container[rng.choice(KEYS)] = copy.deepcopy(rng.choice(SCALARS))
    elif kind == 5:
        container[key] = [container[key]] if rng.random() < 0.5 else {"name": container[key]}
    elif key == "name":
        container[key] = rng.choice(ODD_NAMES)
    elif isinstance(container, MutableSequence):
        container.append(copy.deepcopy(container[key]))
    return document


def dump(rng: random.Random, document: Any) -> str:
    """A document as a text, in one of several styles."""
    style = rng.randrange(4)
    if style == 0:
        indent = rng.choice((None, 2, "\t"))
        return json.dumps(document, ensure_ascii=rng.random() < 0.5, indent=indent)
    return yaml.safe_dump(
        document,
        default_flow_style=(None, True, False)[style - 1],
        sort_keys=rng.random() < 0.5,
        allow_unicode=rng.random() < 0.5,
    )


def scramble(rng: random.Random, text: str) -> str:
    """Change the text itself: words, lines, characters, documents."""
    kind = rng.randrange(9)
    lines = text.splitlines(keepends=True) or [""]
    at = rng.randrange(len(lines))
    if kind <= 2 and ": " in lines[at]:
        lines[at] = lines[at].rstrip("\n").rpartition(": ")[0] + ": " + rng.choice(WORDS) + "\n"
    elif kind == 3:
        lines.insert(at, lines[at])
    elif kind == 4:
        lines.insert(
            at, rng.choice(("---\n", "...\n", "%YAML 1.2\n---\n", "# note\n", "\t\n", "\n"))
        )
    elif kind == 5:
        lines[at] = lines[at].replace("  ", rng.choice(("\t", " ", "   ")), 1)
    elif kind == 6:
        return rng.choice(("\ufeff", " ", "\n", "\r\n", "--- ", "!!map ", "&a ", "? ")) + text
    elif kind == 7:
        spot = rng.randrange(len(text) + 1)
        odd = rng.choice(("\x00", "\x07", "\x7f", "\x85", "\u2028", "\ufffe", "é", "'", '"', "&a "))
        return text[:spot] + odd + text[spot:]
    else:
        spot = rng.randrange(len(text) + 1)
        return text[:spot] + text[spot + rng.randint(1, 3) :]
    return "".join(lines)


def merged(rng: random.Random) -> str:
    """Anchors, aliases and merge keys, as people use them to say a thing once."""
    replicas = rng.choice(("4", "'4'", "1", "0x4", "4.0", "four"))
    extra = rng.choice(("", ", replicas: 8", ", rename: x", ", devices: all"))
    base = rng.choice(("{replicas: R}", "{replicas: R, name: gpu}", "[{replicas: R}]", "4"))
    used = rng.choice(("*a", "[*a]", "[*a, {name: gpu}]", "{name: gpu}", "*b"))
    list_of = rng.choice(("{<<: U, name: gpuE}", "*a", "{name: gpu, <<: UE}"))
    entry = list_of.replace("U", used).replace("E", extra)
    where = rng.choice(("x-base", "imex", "version"))
    return (
        f"{where}: &a {base.replace('R', replicas)}\nsharing:\n  timeSlicing:\n"
        f"    resources:\n    - {entry}\n"
    )


CORPUS = (
    *("", "\n", "# nothing\n", "---\n", "null\n", "~", "{}", "[]", "4", "text", "version: v1"),
    *("version: v1\n---\nversion: v2\n", "version: v1\n...\ngarbage: [", "version: v1\n--- {"),
    *("sharing:", "sharing: {timeSlicing: {}}", "sharing: {timeSlicing: }", "sharing: {mps: }"),
    *(
        "sharing: {mps: {}}",
        "sharing: {timeSlicing: {resources: []}}",
        "flags:",
        "imex:",
        "flags: []",
    ),
    *(
        "a: &a [*a]",
        "a: &a {b: *a}",
        "[" * 50 + "]" * 50,
        "[" * 3000 + "]" * 3000,
        "x: " + "[" * 90,
    ),
    "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(7)
    ),
    *("version: v1\nversion: v2", "version: v2\nversion: v1", "version: v1\nVersion: v2"),
    *("imex: {channelIDs: [0, null]}", "imex: {channelIDs: [null]}", "imex: {channelIDs: [.nan]}"),
    *("unknown: .nan", "unknown: .inf", "{version: v1, ? [a] : b}", "{version: v1, ? : b}"),
    *(
        "version: |\n  v1",
        "version: |-\n  v1",
        "version: >-\n  v1",
        "version: 'v1'",
        "version: v1\t",
    ),
    "resources: {gpus: [{pattern: '*', name: gpu}]}",
    "resources: {gpus: [{pattern: '*'}], mig: 4}",
    "resources: {gpus: {}}",
    "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 2}, {name: gpu, replicas: 4}]}}",
    "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 2, devices: [0, GPU-1]}]}}",
    "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 2, devices: 1}]}}",
    "sharing: {timeSlicing: {resources: [null]}}",
    "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 2, rename: my-gpu}]}}",
    "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 2, rename: }]}}",
    "sharing: {timeSlicing: &t {resources: [{name: gpu, replicas: 2}]}, mps: *t}",
    "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 9223372036854775807}]}}",
    "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 9223372036854775808}]}}",
    "sharing: {timeSlicing: {Resources: [{name: gpu, replicas: 4}]}}",
    "sharing: {timeSlicing: {resources: [{Name: gpu, replicas: 4}]}}",
    "flags: {plugin: {deviceListStrategy: []}}",
    "flags: {plugin: {deviceListStrategy: [null]}}",
    "flags: {migStrategy: 4, mpsRoot: true, nvidiaDriverRoot: 1.5}",
    "flags: {gfd: {sleepInterval: 1e30}}",
    "flags: {gfd: {sleepInterval: 1.5}}",
    "flags: {gfd: {sleepInterval: true}}",
    "flags: {CommandLineFlags: {migStrategy: none}}",
    "flags: {plugin: {sharedDevicesAllocationPolicy: tight}}",
    *("{}: a", "{} a", "{}{>", "{}@", "[]: a", "{? version : v1}: a", "{version: v1}: a"),
    *("{a:, b: @}", "version: |#c\n v1", r"version: \"\'v1\"", ".nan: 1", "{.inf: 1, -.inf: 2}"),
    "VERSION: 1\nversion: v1",
    *("{flags :{gdsEnabled: true}}", "{? flags\n :{gdsEnabled: true}}", "{'flags' :{}}"),
    "version: .nan\nversion: v1",
    "version: v1\n...\n" + "# \n" * 9000 + "\x00",
)


def texts(seed: int, count: int) -> Iterator[str]:
    """The corpus, then count files: a third valid, a third mutated, a third scrambled."""
    rng = random.Random(seed)
    yield from CORPUS
    for number in range(count):
        if number % 12 == 11:
            yield merged(rng)
            continue
        document: Any = valid(rng)
        for _once in range(rng.choice((1, 1, 2, 3)) if number % 3 else 0):
            document = mutate(rng, document)
        text = dump(rng, document)
        for _once in range(rng.choice((1, 1, 2)) if number % 3 == 2 else 0):
            text = scramble(rng, text)
        yield text


SHORT_VALUES: tuple[Any, ...] = (*SCALARS, "time_slicing", "mps", "time-slicing", "all-1g.5gb")
SHORT_KEYS = (
    *("strategy", "replicas", "rename_by_default", "fail_requests_greater_than_one", "resources"),
    *("mig", "renameByDefault", "sharing", "version", "flags"),
)


def definitions(seed: int, count: int) -> Iterator[Any]:
    """Definitions as an inventory has them: short form, the plugin's own keys, and mistakes."""
    rng = random.Random(seed)
    for number in range(count):
        if number % 2:
            yield mutate(rng, valid(rng)) if number % 4 == 1 else valid(rng)
            continue
        found: dict[str, Any] = {"replicas": rng.choice((1, 2, 4, "8", 48, 100))}
        if rng.random() < 0.3:
            found = {"resources": strategy(rng, mps=False)["resources"]}
        if rng.random() < 0.5:
            found["strategy"] = rng.choice(("time_slicing", "mps", "none"))
        for name in SHORT_KEYS[2:4]:
            if rng.random() < 0.4:
                found[name] = rng.choice((True, False, "yes", "False"))
        for _once in range(rng.choice((0, 0, 1, 2))):
            found[rng.choice(SHORT_KEYS)] = copy.deepcopy(rng.choice(SHORT_VALUES))
        yield found
