# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our reading of configuration files against NVIDIA's own parser, on thousands of files.

`make test-all` takes 20,000. A longer run by hand:
DIFFERENTIAL_FILES=1000000 DIFFERENTIAL_SEED=2 pytest tests/differential
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Sequence

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import Profile
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.reader import ProfileReader
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rules import Rule
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    read_profile,
    read_text,
)
from ansible_collections.gpufleet.sharing.tests.differential import generate, nvidia, soup

FILES = int(os.environ.get("DIFFERENTIAL_FILES", "1500"))
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))
CHUNK = 20_000


@pytest.fixture(scope="module")
def parser() -> nvidia.Parser:
    return nvidia.built()


def read(text: str, surroundings: nvidia.Surroundings) -> tuple[Profile, set[Rule]]:
    """A file's text as we read it, and the rules that it breaks."""
    reader = ProfileReader("p", lenient=False)
    content = read_text(text, reader, surroundings.plugin)
    return Profile("p", content), {problem.rule for problem in reader.problems}


def compare(
    texts: Sequence[str], parser: nvidia.Parser, surroundings: nvidia.Surroundings
) -> Counter[str]:
    """Judge each file. Counts what came of them; asserts that nothing else can come of one."""
    counts: Counter[str] = Counter()
    defaults = parser.defaults(surroundings)
    for text, answer in zip(texts, parser.ask(texts, surroundings), strict=True):
        profile, rules = read(text, surroundings)
        if not answer["ok"]:
            assert rules, f"refused by the plugin, accepted by us: {text!r}: {answer['error']}"
            counts["both refuse"] += 1
        elif rules:
            loud = {rule for rule in rules if not rule.accepted_by_plugin}
            assert not loud, f"refused without need: {text!r}: {loud}"
            counts["we alone refuse"] += 1
            counts.update(f"  {rule.name}" for rule in rules)
        else:
            assert nvidia.meant(profile, defaults) == nvidia.understood(answer), text
            counts["both accept"] += 1
    return counts


@pytest.mark.parametrize("surroundings", nvidia.SURROUNDINGS, ids=lambda found: found.name)
def test_no_file_is_read_otherwise_than_by_the_plugin(
    parser: nvidia.Parser, surroundings: nvidia.Surroundings
) -> None:
    counts: Counter[str] = Counter()
    texts: list[str] = []
    files = FILES if surroundings.name == "operator" else FILES // 4
    for text in itertools.chain(generate.texts(SEED, files), soup.texts(SEED, files // 2)):
        texts.append(text)
        if len(texts) >= CHUNK:
            counts += compare(texts, parser, surroundings)
            texts.clear()
    counts += compare(texts, parser, surroundings)
    print(f"\n{surroundings.name}: {json.dumps(counts, indent=1)}")
    # Each kind is a real share of the files, so that the test means something.
    share = min(counts[kind] for kind in ("both accept", "both refuse", "we alone refuse"))
    assert share > files // 20


@pytest.mark.parametrize("surroundings", nvidia.SURROUNDINGS, ids=lambda found: found.name)
def test_every_file_that_we_write_is_read_as_meant(
    parser: nvidia.Parser, surroundings: nvidia.Surroundings
) -> None:
    """Definitions as an inventory has them, texts among them -> our file -> the plugin."""
    definitions = [
        *generate.definitions(SEED, FILES // 4),
        *generate.texts(SEED + 1, FILES // 8),
        *soup.texts(SEED + 1, FILES // 8),
    ]
    found = [read_profile("p", each, surroundings.plugin) for each in definitions]
    profiles = [profile for profile, problems in found if not problems]
    assert len(profiles) > FILES // 40
    defaults = parser.defaults(surroundings)
    files = [to_plugin_config(profile) for profile in profiles]
    for profile, file, answer in zip(profiles, files, parser.ask(files, surroundings), strict=True):
        assert answer["ok"], (file, answer)
        assert nvidia.meant(profile, defaults) == nvidia.understood(answer), file
        again, rules = read(file, surroundings)
        assert (again.content, rules) == (profile.content, set()), file
