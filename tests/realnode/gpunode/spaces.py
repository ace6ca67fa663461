# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps the node apart from the machine, and what of it has to be taken back by hand.

Mounts, network and processes are in namespaces and end with them. Folders to mount on, settings of
the kernel that the kubelet changes, and cgroups are the machine's own: they are noted and undone.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

from gpulab.process import wait_for

from . import driver
from .record import Record
from .shell import call, mount

NODE_ADDRESS = "10.203.0.1"
SERVICE_ADDRESS = "10.202.0.1"  # of the API server, as pods know it; there is no kube-proxy
POD_RANGE = "10.204.0.0/24"
WORK = Path("/run/realnode")
_CGROUPS = Path("/sys/fs/cgroup")
#: Folders of the node's own, empty at first and gone with it.
_PRIVATE = ("/run", "/var/lib/kubelet", "/var/lib/cni", "/var/log", "/etc/kubernetes")
#: What the kubelet sets for the whole machine.
_SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def prepare(record: Record) -> None:
    """Outside: what the namespaces need of the machine. Each step is noted before it is taken."""
    for sysctl in _SYSCTLS:
        file = Path("/proc/sys") / sysctl
        if file.exists():
            record.sysctls[sysctl] = file.read_text(encoding="ascii").strip()
    for folder in map(Path, _PRIVATE):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            record.made.append(str(path))
            record.save()
            path.mkdir()
    record.save()
    for folder in _cgroup_folders(record.cgroup):
        folder.mkdir(exist_ok=True)


def undo(record: Record) -> list[str]:
    """Outside, once no process is left: put everything back. Returns what could not be."""
    for sysctl, value in record.sysctls.items():
        file = Path("/proc/sys") / sysctl
        if file.read_text(encoding="ascii").strip() != value:
            file.write_text(f"{value}\n", encoding="ascii")
    left = [
        str(folder)
        for folder in _cgroup_folders(record.cgroup)
        if not wait_for(functools.partial(_remove_cgroup, folder), 10, poll=0.1)
    ]
    mounted = _mount_points() if record.made else set()
    for path in map(Path, reversed(record.made)):
        # Removing it would take the mount of another node away from under it.
        if not path.exists() or str(path) in mounted:
            continue
        try:
            path.rmdir()
        except OSError as err:
            left.append(f"{path} ({err.strerror})")
    return left


def _mount_points() -> set[str]:
    """Of all mount namespaces of this machine."""
    found: dict[Path, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            space = (process / "ns/mnt").readlink()
            if space not in found:
                found[space] = (process / "mountinfo").read_text(encoding="utf-8")
    lines = (line.split() for text in found.values() for line in text.splitlines())
    return {fields[4] for fields in lines}


def _cgroup_folders(name: str) -> list[Path]:
    """The node's cgroup, in each hierarchy where there are several."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS / name]
    found = [p for p in _CGROUPS.iterdir() if (p / "cgroup.procs").exists() and not p.is_symlink()]
    return [path / name for path in found]


def _remove_cgroup(folder: Path) -> bool:
    if not folder.exists():
        return True
    below = sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True)
    try:
        for path in (*below, folder):
            path.rmdir()
    except OSError:
        return False
    return True


def arrange(record: Record, bin_dir: Path) -> None:
    """Inside: mounts and network."""
    if record.stand_in:
        _replace_devices(record.gpus)
    # Its own mounts spread among its containers, and nowhere else.
    mount("--make-rshared", "/")
    for folder in _PRIVATE:
        mount("-t", "tmpfs", "-o", "mode=755", "realnode", folder)
    if not Path("/var/run").is_symlink():
        mount("--rbind", "/run", "/var/run")
    WORK.mkdir()
    _network(bin_dir / "busybox")


def _replace_devices(gpus: int) -> None:
    """The kernel's own /dev is everybody's; the stand-in's devices are only ours."""
    place = Path("/mnt")
    mount("-t", "tmpfs", "-o", "mode=755", "realnode", place)
    driver.make_devices(place, gpus)
    mount("--rbind", place, "/dev")
    call("umount", "--recursive", "--lazy", place)


def _network(busybox: Path) -> None:
    """Loopback with the service address, and a bridge that carries the address of the node."""

    def ip(*arguments: str) -> None:
        call(busybox, "ip", *arguments)

    ip("link", "set", "lo", "up")
    ip("addr", "add", f"{SERVICE_ADDRESS}/32", "dev", "lo")
    ip("link", "add", "name", "node0", "type", "bridge")
    ip("addr", "add", f"{NODE_ADDRESS}/24", "dev", "node0")
    ip("link", "set", "node0", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")


def enable_controllers(cgroup: str) -> None:
    """cgroup v2: what is above a cgroup has to hand each controller down. Where that cannot be, the
    kubelet says so if it matters.
    """
    if not (_CGROUPS / "cgroup.controllers").exists():
        return
    for folder in (_CGROUPS, _CGROUPS / cgroup):
        for controller in (folder / "cgroup.controllers").read_text(encoding="ascii").split():
            with contextlib.suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")
