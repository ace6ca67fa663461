# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that no YAML writer makes: valid files with characters changed, odd values and keys written
as they are, and YAML's signs in any order. The same seed gives the same texts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

FILES = (
    """version: v1
sharing:
  timeSlicing:
    renameByDefault: false
    failRequestsGreaterThanOne: true
    resources:
    - name: nvidia.com/gpu
      replicas: 4
""",
    """version: v1
flags:
  gdsEnabled: true
  plugin: {cdiAnnotationPrefix: cdi.k8s.io/, nvidiaCTKPath: "/usr/bin/nvidia-ctk"}
  gfd:
    noTimestamp: yes
    outputFile: '/etc/x'
    machineTypeFile: |-
      /sys/x
sharing:
  mps:
    resources:
      - {name: gpu, replicas: 4}
""",
    '{"sharing": {"timeSlicing": {"resources": [{"name": "gpu", "replicas": 2}]}}}',
    '{\n\t"version": "v1",\n\t"imex": {"channelIDs": [0], "required": true}\n}\n',
    """# a comment
version: &v v1
sharing: &s
  timeSlicing: {resources: [{name: gpu, replicas: 0x4}, &b {name: mig-1g.5gb, replicas: 2}]}
imex:
  channelIDs: []
""",
    "version: v1\nflags:\n  gfd: {sleepInterval: 1m30s, outputFile: a b}\n",
    'flags:\n  gfd:\n    outputFile: a\n      b\n    machineTypeFile: "a\\\n      b"\n',
    "base: &a {replicas: 4}\nsharing: {timeSlicing: {resources: [{<<: *a, name: gpu}]}}\n",
    "version: v1\n",
    "---\nversion: v1\n...\n",
    "? version\n: v1\n? sharing\n: timeSlicing:\n    resources: [{name: gpu, replicas: 2}]\n",
    "{'version' :v1, sharing : { ? timeSlicing : {resources : [ {name : gpu, replicas: 2 } ]}}}\n",
    "{imex :\n  {channelIDs :\n  [ 0 ], required : n}, flags : {gfd : {outputFile : a}}}\n",
)
# Flow style without blanks, for them to be put in.
FLOWS = (
    "{version:v1,sharing:{timeSlicing:{resources:[{name:gpu,replicas:4}]}}}",
    "{flags:{gfd:{outputFile:a,oneshot:n},gdsEnabled:true}}",
    "{imex:{channelIDs:[0],required:y},version:'v1'}",
    "{b:&a {replicas:4},sharing:{mps:{resources:[{<<:*a,name:gpu}]}},flags:{mpsRoot:a}}",
)
BLANKS = (" ", " ", "  ", "\n", "\n ", " # c\n", "\r\n", " \n\n ", "#", "\t")
WRAPS = (
    '"{}"',
    "'{}'",
    "? {}",
    "&z {}",
    "!!str {}",
    "{} ",
    "- {}",
    "{}?",
    "?{}",
    "{}#",
    "{}:",
    ":{}",
)
# Values as they are written, in flags that take a text and that the operator leaves alone: what Go
# takes for something else, escapes, texts of several lines.
VALUES: tuple[str, ...] = (
    *("y", "N", "off", "1e3", "0x1", "null", "~", "2001-01-01", "2001-1-1 1:2:3", "''", '""'),
    *("'a'", r'"a\/b"', r'"\'"', r'"a\tb"', r'"\e"', r'"\x41"', r'"\u00e9"', r'"\ud83d\ude00"'),
    *("|\n      a\n", "|-\n      a", "|#c\n      a", ">-\n      a\n      b", "|\n      \ta\n"),
    *("|\n     \ta\n", "|-\n\ta", "|2\n      a", ">-1 # c\n      a", "|+\n\n", "|", ">\t\n      a"),
    *("a b", "a\tb", "a #b", "a#b", "a:b", "a: b", "a:", "-a", "- a", "?a", "? a", ":a", "a,"),
    *("@a", "`a", "%a", "&x a", "*x", "!a", "!!str a", "[a]", "{a: b}", "[", "a]", "a}", "=", "<<"),
    *('"a\n      b"', "'a\n\n      b'", "a\n      b", "a\n    b", "a\n      \tb", "é", "\u3000a"),
    *("0b-1", ".1_7", "0b1" + "0" * 63, "0b-1" + "0" * 63, "1__", "_1", "+1", "1_000", "0o17"),
    *(".e3", "1e-400", "1e400", "1.", "-.5", "+.inf", ".INF", "-.nan", "0b", "0b+", "-0b-1", "08"),
)
TEXT_FLAGS = (
    *("gfd.outputFile", "gfd.machineTypeFile"),
    *("plugin.cdiAnnotationPrefix", "plugin.nvidiaCTKPath"),
)
DURATIONS = (
    *("infinite", "60s", "5", "-5", "1.5", "1e30", "9223372036854775807", "9223372036854775807ns"),
    *("0.999999999999999999s", "9223372036854775808ns9223372036854775808ns", "1.h", ".h", "1h1"),
    *("2562047h47m16.854775807s", "2562047h47m16.854775808s", "-9223372036854775808ns", "1µs"),
    *("+1h", "+", "0", "+0", "00", "1 s", "1S", "9e3s", "1_0s", ".9999999999999999999h", "true"),
)
KEYS: tuple[str, ...] = (
    *(".nan", ".inf", "-.inf", "{}", "[]", "1e3", "18446744073709551615", "y", "~", "''", '"<<"'),
    *("<<", "2001-01-01", "*v", "&k k", "{a: b}", "[a]", '"version"', "Version", "IMEX", "flags"),
)
TOKENS: tuple[str, ...] = (
    *"{}[],:?-#&*!|>'\"%@`~\n\t",
    *("\r\n", ": ", "- ", "? ", "\n  ", "\n- ", "a", "4", "v1", "version", "&a ", "*a", "<<", "''"),
    *("{}", "[]", "{}:", "|\n  x", ">-\n  x", "|#c\n", " #c", ".nan", "0b-1", r"\/", r"\'", "\\\n"),
    *("null", "on", "\n---\n", "\n...\n", "%YAML 1.1\n", "é", "\u2028", "\x85", "\ufeff", "\x00"),
    *("\U0001f600", "\xa0", "name", "gpu", "replicas", "sharing", "flags", "gfd", "outputFile"),
)


def duration(rng: random.Random) -> str:
    """Parts of a number, a fraction and a unit, up to more digits than anything holds."""
    parts = []
    for _once in range(rng.randint(1, 3)):
        whole = str(rng.randrange(10 ** rng.randint(1, 20))) if rng.random() < 0.8 else ""
        digits = rng.randint(1, 25)
        fraction = f".{rng.randrange(10**digits):0{digits}}" if rng.random() < 0.6 else ""
        parts.append(whole + fraction + rng.choice(("ns", "us", "ms", "s", "m", "h")))
    return ("-" if rng.random() < 0.2 else "") + "".join(parts)


def flags(rng: random.Random) -> str:
    """A file with one to three flags, whose values are written as they are."""
    parts: dict[str, list[str]] = {"gfd": [], "plugin": []}
    for name in rng.sample(TEXT_FLAGS, rng.choice((1, 1, 2))):
        part, _dot, inner = name.partition(".")
        parts[part].append(f"    {inner}: {rng.choice(VALUES)}")
    if rng.random() < 0.3:
        value = rng.choice(DURATIONS) if rng.random() < 0.5 else duration(rng)
        parts["gfd"].append(f"    sleepInterval: {value}")
    if rng.random() < 0.1:
        parts["plugin"].append("    sharedDevicesAllocationPolicy: " + rng.choice(VALUES))
    lines = [
        line for part, inner in parts.items() if inner for line in (f"  {part}:", "\n".join(inner))
    ]
    return "flags:\n" + "\n".join(lines) + rng.choice(("\n", ""))


def keyed(rng: random.Random) -> str:
    """A file with one more key, in one of the ways to write one."""
    lines = rng.choice(FILES).split("\n")
    at = rng.randrange(len(lines))
    blanks = " " * (len(lines[at]) - len(lines[at].lstrip(" ")))
    key, value = rng.choice(KEYS), rng.choice((*VALUES, "4", "v1", "", "{}", "*v"))
    form = rng.randrange(3)
    if form == 0:
        lines.insert(at, f"{blanks}{key}: {value}")
    elif form == 1:
        lines.insert(at, f"{blanks}? {key}\n{blanks}: {value}")
    else:
        lines[at] = lines[at].replace("{", "{" + f"{key}: {value}, ", 1)
    return "\n".join(lines)


def spread(rng: random.Random) -> str:
    """Flow style with blanks, breaks and comments around any sign, and words in other forms."""
    parts: list[str] = []
    for token in re.findall(r"[{}\[\],:]|[^{}\[\],:]+", rng.choice(FLOWS)):
        before, behind = (rng.choice(BLANKS) if rng.random() < 0.12 else "" for _side in "ab")
        if token == ":" and rng.random() < 0.95:
            behind = behind or " "
        if token in "{}[],:":
            parts += (before, token, behind)
        else:
            parts.append(rng.choice(WRAPS).format(token) if rng.random() < 0.04 else token)
    return "".join(parts)


def aliased(rng: random.Random) -> str:
    """A chain of aliases: each anchor is made of the one before."""
    count = rng.choice((2, 3, 9, 10, 11, 12))
    first = rng.choice(("4", "gpu", "{replicas: 4, name: gpu}", "<<", "[0]"))
    link = rng.choice(("*a{}", "[*a{}]", "{{<<: *a{}}}", "{{x: *a{}}}"))
    lines = [f"x0: &a0 {first}"]
    lines += [f"x{n}: &a{n} {link.format(n - 1)}" for n in range(1, count)]
    last = rng.choice(("[*a{}]", "[{{<<: *a{}}}]", "[{{name: gpu, replicas: *a{}}}]", "*a{}"))
    resources = last.format(rng.randrange(count))
    return "\n".join([*lines, f"sharing: {{timeSlicing: {{resources: {resources}}}}}"])


def changed(rng: random.Random, text: str) -> str:
    """One change of characters, whatever they mean."""
    start = rng.randrange(len(text) + 1)
    end = min(len(text), start + rng.choice((1, 1, 3, 30)))
    kind = rng.randrange(6)
    if kind == 0:
        return text[:start] + rng.choice(TOKENS) + text[start:]
    if kind == 1:
        return text[:start] + text[end:]
    if kind == 2:
        return text[:start] + rng.choice(TOKENS) + text[end:]
    if kind == 3:
        return text[:end] + text[start:]
    if kind == 4:
        return text[:start] + rng.choice(FILES)[: end - start] + text[start:]
    flipped = "".join(
        chr(ord(letter) ^ 1 << rng.randrange(7)) for letter in text[start : start + 1]
    )
    return text[:start] + flipped + text[start + 1 :]


def texts(seed: int, count: int) -> Iterator[str]:
    rng = random.Random(f"soup {seed}")
    for number in range(count):
        kind = number % 8
        if kind <= 1:
            yield flags(rng)
        elif kind == 2:
            yield keyed(rng)
        elif kind == 3:
            yield aliased(rng) if rng.random() < 0.5 else changed(rng, flags(rng))
        elif kind == 5:
            yield spread(rng)
        elif kind == 4:
            yield "".join(rng.choices(TOKENS, k=rng.randint(1, 14)))
        else:
            text = rng.choice(FILES)
            for _once in range(rng.choice((1, 1, 1, 2, 3, 5))):
                text = changed(rng, text)
            yield text
