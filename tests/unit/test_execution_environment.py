# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Execution environments: what ansible-builder makes of the collection's file and the examples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BUILDER = Path(sys.executable).with_name("ansible-builder")
EXAMPLES = sorted((ROOT / "examples" / "execution-environment").glob("*.yml"))


def build(*arguments: str | Path) -> str:
    done = subprocess.run([BUILDER, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_collection_names_what_it_needs() -> None:
    """PyYAML is not listed: ansible-builder leaves out what ansible-core brings."""
    found = yaml.safe_load(build("introspect", ROOT / ".build" / "collections"))
    (client,) = (line for line in found["python"] if "gpufleet.sharing" in line)
    assert client.startswith("kubernetes>=28.1.0 ")
    (helm,) = (line for line in found["system"] if "gpufleet.sharing" in line)
    assert helm.startswith("helm [platform:fedora] ")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_builds_a_context_with_the_collection_and_helm(
    example: Path, tmp_path: Path
) -> None:
    build("create", "-f", example, "-c", tmp_path, "--output-filename", "Containerfile")
    wanted = yaml.safe_load((tmp_path / "_build" / "requirements.yml").read_text(encoding="utf-8"))
    assert wanted == {"collections": ["gpufleet.sharing"]}
    text = (tmp_path / "Containerfile").read_text(encoding="utf-8")
    base = yaml.safe_load(example.read_text(encoding="utf-8"))["images"]["base_image"]["name"]
    assert f'"{base}"' in text
    assert ("fedora" in base) != ("/usr/local/bin/helm" in text)  # packaged, or copied


def test_every_example_is_a_different_distribution() -> None:
    assert [example.stem for example in EXAMPLES] == ["fedora", "ubi"]
