# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of tests/realnode/realnode."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

from gpulab import command
from gpulab.errors import LabError
from gpulab.paths import CHART_DIR

from . import build, check, driver, inside, needs, node, pieces, record
from .cuda import LOOK
from .image import PROBE
from .paths import PIECES, state_dir
from .settings import NODE

MISSING = 2


def run(arguments: list[str]) -> int:
    wrong = (LabError, subprocess.CalledProcessError)
    return command.run(_parser().parse_args(arguments), "realnode", wrong)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="realnode", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    building = commands.add_parser("build", help="find or build the programs")
    building.set_defaults(command=_build)
    packing = commands.add_parser("pack", help="all of it in pieces, for a machine without network")
    packing.add_argument("folder", nargs="?", type=Path, default=PIECES)
    packing.set_defaults(command=_pack)
    unpacking = commands.add_parser("unpack", help="put the pieces in place")
    unpacking.add_argument("folder", nargs="?", type=Path, default=PIECES)
    unpacking.set_defaults(command=pieces.unpack_command)
    boot = commands.add_parser("up", help="boot the node")
    _hardware(boot)
    boot.add_argument(
        "--program",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="one more program for the image of the pods",
    )
    boot.set_defaults(command=_up)
    ending = commands.add_parser("down", help="end the node and remove its traces")
    ending.set_defaults(command=_down)
    environment = commands.add_parser("env", help="print exports for a shell")
    environment.set_defaults(command=_env)
    status = commands.add_parser("status", help="show the node; exit 1 when it does not run")
    status.set_defaults(command=_status)
    checking = commands.add_parser("check", help="boot it, run the collection on it, take it down")
    kind = checking.add_mutually_exclusive_group(required=True)
    kind.add_argument("--gpu", action="store_true", help="with this machine's GPU")
    kind.add_argument("--stand-in", action="store_true", help="without a GPU")
    checking.add_argument(
        "--stable",
        type=int,
        default=20,
        metavar="SECONDS",
        help="how long a value has to stay; 12 is faster, and still more than a kubelet's period",
    )
    checking.set_defaults(command=_check)
    inner = commands.add_parser("_inside")
    inner.set_defaults(command=lambda _options: inside.main())
    return parser


def _hardware(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stand-in", action="store_true", help="a stand-in for GPUs and driver")
    parser.add_argument("--gpus", type=int, help="how many the stand-in has (default: 2)")


def _build(_options: argparse.Namespace) -> int:
    if missing := needs.missing(stand_in=True):
        return _lacks(missing)
    print(build.build())
    return 0


def _pack(options: argparse.Namespace) -> int:
    pieces.pack(build.ready() or build.build(), build.key(), options.folder)
    return 0


def _up(options: argparse.Namespace) -> int:
    if missing := needs.missing(options.stand_in):
        return _lacks(missing)
    bin_dir = build.ready() or build.build()
    gpus = node.gpus_of(options.gpus, stand_in=options.stand_in)
    started = time.monotonic()
    _record, booted = node.up(bin_dir, gpus, stand_in=options.stand_in, programs=options.program)
    what = f"node {NODE} with {gpus} {'pretended ' if options.stand_in else ''}GPUs"
    if booted:
        print(f"{what} is up after {time.monotonic() - started:.1f} s")
    else:
        print(f"{what} was up already")
    print(f'  next    eval "$({_self()} env)"; $REALNODE_ENTER kubectl get nodes')
    print(f"  end it  {_self()} down")
    return 0


def _lacks(missing: list[str]) -> int:
    print(f"realnode: this machine lacks {'; '.join(missing)}", file=sys.stderr)
    return MISSING


def _down(_options: argparse.Namespace) -> int:
    existed, left = node.down()
    print(f"node {'ended' if existed else 'was not there'}")
    for trace in left:
        print(f"realnode: left behind: {trace}", file=sys.stderr)
    return int(bool(left))


def _running() -> record.Record:
    found = record.read()
    if found is None or not (found.running and found.alive):
        raise LabError("the node does not run; boot it: realnode up")
    return found


def _env(_options: argparse.Namespace) -> int:
    found = _running()
    assert found.first is not None
    for key, value in (
        ("KUBECONFIG", str(state_dir() / "kubeconfig")),
        ("GPULAB_STATE", str(state_dir())),
        ("GPULAB_AUDIT_LOG", str(state_dir() / "audit.log")),
        ("GPULAB_CHART", str(CHART_DIR)),
        ("REALNODE_GPUS", str(found.gpus)),
        ("REALNODE_STAND_IN", str(int(found.stand_in))),
        ("REALNODE_PID", str(found.first.pid)),
        ("REALNODE_ENTER", f"nsenter --target {found.first.pid} --net"),
        ("REALNODE_NODE", NODE),
        ("REALNODE_IMAGE", PROBE),
        ("REALNODE_LOOK", LOOK if LOOK in found.programs else "nvidia-smi -L"),
        ("REALNODE_HARDWARE", _hardware_file(found)),
    ):
        print(f"export {key}={shlex.quote(value)}")
    print(f"export PATH={shlex.quote(found.bin_dir)}:$PATH")
    return 0


def _hardware_file(found: record.Record) -> str:
    """As it is seen from outside: what is appended there, the stand-in answers."""
    if not found.stand_in or found.first is None:
        return ""
    return f"/proc/{found.first.pid}/root{driver.hardware_file()}"


def _status(_options: argparse.Namespace) -> int:
    found = record.read()
    if found is None:
        print("absent")
        return 1
    dead = found.dead if found.alive else ["everything"]
    state = "running" if found.running and not dead else f"broken ({', '.join(dead)} ended)"
    gpus = f"{found.gpus} GPUs{' (stand-in)' if found.stand_in else ''}"
    print(f"{NODE}  {state}  {gpus}  since {found.started_at}  {state_dir()}")
    return int(state != "running")


def _check(options: argparse.Namespace) -> int:
    if missing := needs.missing(options.stand_in):
        return _lacks(missing)
    build.ready() or build.build()
    return check.run(gpu=options.gpu, stable=options.stable)


def _self() -> str:
    return shlex.quote(sys.argv[0].removesuffix(".py"))
