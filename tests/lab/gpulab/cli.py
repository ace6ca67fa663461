# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of tests/lab/lab."""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
import time
from pathlib import Path

from . import build as programs
from . import command
from .build import go_check
from .cluster import down, restart_apiserver, stop_simulator, up
from .errors import LabError
from .fleet import load_fleet
from .paths import CHART_DIR, DEFAULT_FLEET, labs_dir
from .state import Lab, lab_folders, lab_names, read_lab, read_record
from .timing import SETTINGS, TIMINGS


def run(arguments: list[str]) -> int:
    return command.run(_parser().parse_args(arguments), "lab")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="find or build the programs")
    build.set_defaults(command=_build)
    check = commands.add_parser("go-check", help="run the Go tests of gpusim")
    check.set_defaults(command=_go_check)
    boot = commands.add_parser("up", help="boot a lab")
    _name(boot)
    boot.add_argument("--fleet", type=Path, default=DEFAULT_FLEET, metavar="FILE")
    boot.add_argument(
        "--timing", choices=list(TIMINGS), help="delays: short, or as seen on real nodes"
    )
    boot.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"a setting of the simulator: {', '.join(SETTINGS)}",
    )
    boot.set_defaults(command=_up)
    again = commands.add_parser("restart", help="end the API server of a lab and start it again")
    _name(again)
    again.add_argument("program", nargs="?", choices=["apiserver"], default="apiserver")
    again.set_defaults(command=_restart)
    stop = commands.add_parser("stop", help="end the simulator of a lab, for good")
    _name(stop)
    stop.add_argument("program", choices=["gpusim"])
    stop.set_defaults(command=_stop)
    ending = commands.add_parser("down", help="end a lab and remove its traces")
    _name(ending)
    ending.add_argument("--all", action="store_true", help="every lab of this user")
    ending.set_defaults(command=_down)
    environment = commands.add_parser("env", help="print exports for a shell")
    _name(environment)
    environment.set_defaults(command=_env)
    status = commands.add_parser("status", help="list all labs; exit 1 when one does not run")
    status.add_argument("--name", help="this lab only")
    status.set_defaults(command=_status)
    return parser


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="default", help="name of the lab (default: default)")


def _go_check(_options: argparse.Namespace) -> int:
    return go_check()


def _build(_options: argparse.Namespace) -> int:
    programs.build()
    return 0


def _up(options: argparse.Namespace) -> int:
    fleet = load_fleet(options.fleet, _overrides(options.set), options.timing)
    bin_dir = programs.bin_dir() or programs.build()
    started = time.monotonic()
    lab, booted = up(options.name, fleet, bin_dir)
    nodes = fleet.nodes()
    gpus = sum(node.gpus for node in nodes)
    if booted:
        seconds = time.monotonic() - started
        print(f"lab {lab.name} is up after {seconds:.1f} s: {len(nodes)} nodes, {gpus} GPUs")
    else:
        print(f"lab {lab.name} was up already: {len(nodes)} nodes, {gpus} GPUs")
    print(f"  API server  {lab.url}")
    print(f'  next        eval "$({_self()} env{_flag(lab.name)})"; kubectl get nodes')
    print(f"  end it      {_self()} down{_flag(lab.name)}")
    return 0


def _restart(options: argparse.Namespace) -> int:
    started = time.monotonic()
    lab = restart_apiserver(options.name)
    print(f"{options.program} of lab {lab.name} is ready after {time.monotonic() - started:.1f} s")
    return 0


def _stop(options: argparse.Namespace) -> int:
    stop_simulator(options.name)
    print(f"{options.program} of lab {options.name} ended")
    return 0


def _down(options: argparse.Namespace) -> int:
    for name in lab_names() if options.all else [options.name]:
        print(f"lab {name} {'ended' if down(name) else 'was not there'}")
    return 0


def _env(options: argparse.Namespace) -> int:
    lab = read_lab(options.name)
    if lab is None or not lab.running:
        raise LabError(f"lab {options.name} does not run; boot it: lab up{_flag(options.name)}")
    for key, value in (
        ("KUBECONFIG", str(lab.kubeconfig)),
        ("GPULAB_STATE", str(lab.folder)),
        ("GPULAB_AUDIT_LOG", str(lab.audit_log)),
        ("GPULAB_CHART", str(CHART_DIR)),
    ):
        print(f"export {key}={shlex.quote(value)}")
    print(f"export PATH={shlex.quote(lab.bin_dir)}:$PATH")
    return 0


def _status(options: argparse.Namespace) -> int:
    folders = [labs_dir() / options.name] if options.name else lab_folders()
    if not folders:
        print("no lab is up")
        return 0
    rows = [("NAME", "STATE", "PORT", "NODES", "AGE", "FOLDER")]
    healthy = True
    for folder in folders:
        lab = read_record(folder)
        state = _state(lab)
        healthy = healthy and state == "running"
        if lab is None:
            rows.append((folder.name, state, "", "", "", str(folder)))
        else:
            port, nodes = str(lab.ports["apiserver"]), str(len(lab.fleet["nodes"]))
            rows.append((lab.name, state, port, nodes, _age(lab.started_at), str(folder)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    return 0 if healthy else 1


def _age(started_at: str) -> str:
    """How long ago that was, in its two largest units; nothing for a lab that is not up yet."""
    if not started_at:
        return ""
    started = datetime.datetime.fromisoformat(started_at)
    seconds = int((datetime.datetime.now(datetime.UTC) - started).total_seconds())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days}d{hours % 24}h"
    return f"{hours}h{minutes % 60}m" if hours else f"{minutes}m{seconds % 60}s"


def _state(lab: Lab | None) -> str:
    if lab is None:
        return "absent"
    if lab.booting:
        return "starting"
    if not lab.running:
        return "broken"
    return f"broken ({', '.join(lab.dead)} ended)" if lab.dead else "running"


def _overrides(items: list[str]) -> dict[str, str]:
    pairs = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator:
            raise LabError(f"--set {item}: write KEY=VALUE")
        pairs[key] = value
    return pairs


def _self() -> str:
    return shlex.quote(sys.argv[0])


def _flag(name: str) -> str:
    return "" if name == "default" else f" --name {name}"
