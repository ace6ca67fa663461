# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files with credentials that a run writes: who can read them, and that they go."""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ConnectionSettingsError,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._connection.files import (
    private_folder,
    private_temporary_files,
    remove_remains,
    write_kubeconfig,
)


def kubeconfig(key: str) -> dict[str, object]:
    user = {"client-key-data": key, "client-certificate": "/tls/a.crt", "token": "sesame"}
    cluster = {"server": "https://eu", "certificate-authority-data": "Q0E="}
    return {
        "apiVersion": "v1",
        "clusters": [{"name": "eu", "cluster": cluster}],
        "users": [{"name": "eu", "user": user}],
        "contexts": [{"name": "eu", "context": {"cluster": "eu", "user": "eu"}}],
        "current-context": "eu",
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def ended_process() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_only_we_can_read_the_files(tmp_path: Path) -> None:
    folder = private_folder(tmp_path, os.getpid())
    before = os.umask(0)
    try:
        path = write_kubeconfig(kubeconfig("S0VZ"), folder)
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    assert {file.name: mode(file) for file in folder.iterdir()} == dict.fromkeys(
        ("kubeconfig", "certificate-authority", "client-key"), 0o600
    )
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["users"][0]["user"] == {
        "client-key": str(folder / "client-key"),
        "client-certificate": "/tls/a.crt",
        "token": "sesame",
    }
    assert (folder / "client-key").read_text(encoding="utf-8") == "KEY"
    assert written["clusters"][0]["cluster"] == {
        "server": "https://eu",
        "certificate-authority": str(folder / "certificate-authority"),
    }


def test_clusters_in_parallel_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = {private_folder(tmp_path, os.getpid()) for _cluster in range(3)}
    assert len({write_kubeconfig(kubeconfig("S0VZ"), folder) for folder in folders}) == 3


def test_data_that_is_not_base64_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConnectionSettingsError) as refused:
        write_kubeconfig(kubeconfig("sesame!"), private_folder(tmp_path, os.getpid()))
    assert "client-key-data" in str(refused.value)
    assert "sesame" not in str(refused.value)


def test_remains_of_killed_runs_are_removed(tmp_path: Path) -> None:
    runs = {name: tmp_path / name for name in ("own", "killed", "running", "elsewhere", "other")}
    for folder in runs.values():
        folder.mkdir()
    ended, host = ended_process(), socket.gethostname()
    write_kubeconfig(kubeconfig("S0VZ"), private_folder(runs["killed"], ended))
    running = private_folder(runs["running"], os.getpid())
    elsewhere = runs["elsewhere"] / f"gpufleet-sharing-{host}-b-{ended}-x"  # of another machine
    elsewhere.mkdir()
    other = runs["other"] / "gpufleet-1.json"
    other.write_text("{}", encoding="utf-8")
    remove_remains(runs["own"])
    assert not runs["killed"].exists()
    assert running.exists()
    assert elsewhere.exists()
    assert other.exists()


def test_texts_in_files_are_those_of_the_kubeconfig(tmp_path: Path) -> None:
    key = base64.b64encode(b"\x00\xff").decode()
    folder = private_folder(tmp_path, os.getpid())
    write_kubeconfig(kubeconfig(key), folder)
    assert (folder / "client-key").read_bytes() == b"\x00\xff"


def test_temporary_files_are_private_and_go(tmp_path: Path) -> None:
    before = tempfile.gettempdir()
    with private_temporary_files(tmp_path):
        _descriptor, name = tempfile.mkstemp()
        child = [sys.executable, "-c", "import tempfile; print(tempfile.mkstemp()[1])"]
        other = subprocess.run(child, capture_output=True, check=True, text=True).stdout.strip()
        folders = {Path(name).parent, Path(other).parent}
        assert [mode(folder) for folder in folders] == [0o700]
    assert list(tmp_path.iterdir()) == []
    assert tempfile.gettempdir() == before
