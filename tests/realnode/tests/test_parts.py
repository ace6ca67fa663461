# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the node is made of, piece by piece."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from gpulab import build as lab
from gpulab.errors import LabError
from gpulab.process import Process
from gpunode import build, driver, features, image, needs, operator, pieces, record, wheels
from gpunode.native import PARTS

REALNODE = Path(__file__).resolve().parents[1] / "realnode"


def test_programs_of_the_lab_are_taken_as_they_are() -> None:
    ours = {program.title: program.key() for program in build.programs()}
    for program in lab.PROGRAMS:
        if program.title in ours:
            assert ours[program.title] == program.key()
    assert {"control plane", "gpusim", "etcd", "kubelet", "runc"} <= ours.keys()


def test_machine_without_gpu_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "find", lambda: None)
    assert any("NVIDIA GPU" in what for what in needs.missing(stand_in=False))
    assert not any("NVIDIA GPU" in what for what in needs.missing(stand_in=True))


def test_other_machines_are_not_looked_at_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert needs.missing(stand_in=True) == ["Linux on x86-64 (this is Linux on aarch64)"]


class Recorded:
    """An API server that takes every patch."""

    def __init__(self) -> None:
        self.patches: list[dict[str, str | None]] = []

    def request(self, _method: str, _path: str, body: dict, _content: str) -> tuple[int, bytes]:
        self.patches.append(body["metadata"]["labels"])
        return 200, b"{}"


def test_labels_follow_the_file_and_outlive_its_absence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "FOLDER", tmp_path)
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    api = Recorded()
    watched = features.Features(api, "gpu-node")
    file = tmp_path / "gfd"
    pci = {"feature.node.kubernetes.io/pci-10de.present": "true"}
    file.write_text("nvidia.com/gpu.count=2\nnvidia.com/gpu.replicas=4\n")
    watched.sync()
    watched.sync()
    file.write_text("nvidia.com/gpu.count=2\nnvidia.com/gpu.replicas=8\n")
    watched.sync()
    file.unlink()
    watched.sync()
    now[0] = 61.0
    watched.sync()
    assert api.patches == [
        {**pci, "nvidia.com/gpu.count": "2", "nvidia.com/gpu.replicas": "4"},
        {"nvidia.com/gpu.replicas": "8"},
        {"nvidia.com/gpu.count": None, "nvidia.com/gpu.replicas": None},
    ]


def test_node_without_gfd_yet_is_known_to_have_a_gpu_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its PCI device; without it the operator would not deploy GFD."""
    monkeypatch.setattr(features, "FOLDER", tmp_path)
    api = Recorded()
    features.Features(api, "gpu-node").sync()
    assert api.patches == [{"feature.node.kubernetes.io/pci-10de.present": "true"}]


def test_policy_names_one_image_in_the_operators_way() -> None:
    policy = operator.documents()[-1]["spec"]
    plugin = policy["devicePlugin"]
    assert f"{plugin['repository']}/{plugin['image']}:{plugin['version']}" == image.PLUGIN
    assert "config" not in plugin


def test_record_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "state_dir", lambda: tmp_path)
    written = record.Record(2, True, "/bin", "realnode-1", first=Process.of("first", os.getpid()))
    written.save()
    record.tell_dead(["kubelet"])
    found = record.read()
    assert found is not None
    assert (found.alive, found.dead, found.gpus) == (True, ["kubelet"], 2)


@pytest.fixture(scope="module")
def driver_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in's libraries and file, as they lie in a driver's root."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    root = tmp_path_factory.mktemp("driver")
    libraries = root / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for part in PARTS:
        subprocess.run(part.command, cwd=libraries, check=True)
    (libraries / "libnvidia-ml.so").rename(libraries / f"libnvidia-ml.so.{driver.VERSION}")
    file = root / f"lib/firmware/nvidia/{driver.VERSION}/gsp_standin.bin"
    file.parent.mkdir(parents=True)
    file.write_text(driver.hardware(2))
    return root


def test_stand_in_counts_gpus_with_device_nodes_only(driver_root: Path) -> None:
    library = driver_root / f"usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{driver.VERSION}"
    nvml = ctypes.CDLL(str(library))
    assert nvml.nvmlInit_v2() == 0
    count = ctypes.c_uint(99)
    assert nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0
    assert count.value == sum(Path(f"/dev/nvidia{minor}").exists() for minor in range(2))
    version = ctypes.create_string_buffer(80)
    assert nvml.nvmlSystemGetDriverVersion(version, 80) == 0
    assert version.value.decode() == driver.VERSION
    assert nvml.nvmlSystemGetDriverVersion(version, 3) == 7  # too small


def test_xid_after_the_start_is_an_event_and_one_before_is_over(driver_root: Path) -> None:
    """Of GPUs that are not registered it is none."""
    library = driver_root / f"usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{driver.VERSION}"
    nvml = ctypes.CDLL(str(library))
    events = ctypes.c_void_p()
    assert nvml.nvmlEventSetCreate(ctypes.byref(events)) == 0
    data = ctypes.create_string_buffer(64)
    assert nvml.nvmlEventSetWait_v2(events, data, 100) == 10  # timeout
    assert nvml.nvmlEventSetFree(events) == 0


def test_pieces_come_out_as_they_went_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "hyper").write_bytes(os.urandom(300_000))
    (programs / "kubectl").symlink_to("hyper")
    monkeypatch.setattr(
        wheels, "install", lambda target, _python: target.mkdir(parents=True) or None
    )
    monkeypatch.setattr(pieces, "_SIZE", 100_000)
    monkeypatch.setattr(pieces, "PYTHON", sys.version_info[:2])
    monkeypatch.setattr(pieces, "unpacked_dir", lambda: tmp_path / "unpacked")
    pieces.pack(programs, "key-1", tmp_path / "pieces")
    assert len(list((tmp_path / "pieces").iterdir())) > 3
    pieces.unpack(tmp_path / "pieces")
    found = tmp_path / "unpacked"
    assert (found / "bin/kubectl").read_bytes() == (programs / "hyper").read_bytes()
    assert (found / "key").read_text() == "key-1\n"
    assert os.access(found / "python/bin/ansible-playbook", os.X_OK)


def test_pieces_for_another_python_are_refused(tmp_path: Path) -> None:
    if sys.version_info[:2] != pieces.PYTHON:
        with pytest.raises(LabError, match=r"the pieces are for Python 3\.12"):
            pieces.unpack(tmp_path)


def test_image_has_every_name_and_the_layer_that_it_tells(tmp_path: Path) -> None:
    layer = b"layer"
    image._archive(tmp_path / "image.tar", layer)
    with tarfile.open(tmp_path / "image.tar") as archive:
        manifest = json.load(archive.extractfile("manifest.json"))
        config = json.load(archive.extractfile(manifest[0]["Config"]))
        assert archive.extractfile(manifest[0]["Layers"][0]).read() == layer
    assert manifest[0]["RepoTags"] == list(image.NAMES)
    (digest,) = config["rootfs"]["diff_ids"]
    assert digest == f"sha256:{manifest[0]['Layers'][0].split('/')[0]}"


def test_command_line_without_gpu_exits_2(tmp_path: Path) -> None:
    if driver.find() is not None:
        pytest.skip("there is a GPU")
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(
        [REALNODE, "up"], env=environment, check=False, text=True, capture_output=True
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("realnode: this machine lacks ")
