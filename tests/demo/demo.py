# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo behind `make demo`: a lab, the recipe applied to it by Ansible, proved with pods."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "tests" / "lab" / "lab"
FLEET = ROOT / "tests" / "lab" / "fleets" / "demo.yml"
INVENTORY = Path("examples") / "recipe"
LOGS = ROOT / ".build" / "logs"
NAME = "demo"
DOWN = f"tests/lab/lab down --name {NAME}"
CHANGED = {"default": {"replicas": 4}, "dev": {"replicas": 6}, "no-sharing": {"replicas": 1}}

SERVER = re.compile(r' +"\S+: https://\S+ \(.*credentials from ')
PROGRESS = re.compile(r"\S+: batch ")
RESULT = re.compile(r"(changed|fatal|failed): \[")
TASK = re.compile(r"^TASK \[(gpufleet\.sharing\.)?|\n")
EXPORT = re.compile(r"export (\w+)=(.*)")


class DemoError(Exception):
    """A step that failed, with what it said."""


@dataclass
class Demo:
    """Runs the steps and keeps how long each took."""

    environ: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        print(f"\n== {name}", flush=True)
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start

    def lab(self, *arguments: str) -> None:
        if subprocess.run([LAB, *arguments], env=self.environ, check=False).returncode:
            raise DemoError(f"tests/lab/lab {' '.join(arguments)} failed; it says why above.")

    def enter_lab(self) -> None:
        """Take over the variables that `lab env` exports."""
        printed = subprocess.run(
            [LAB, "env", "--name", NAME],
            env=self.environ,
            check=True,
            text=True,
            capture_output=True,
        ).stdout
        for name, value in EXPORT.findall(printed):
            self.environ[name] = value.replace("$PATH", self.environ["PATH"])

    def playbook(self, name: str, log: str, *more: str) -> str:
        """Run a playbook of the collection, print what it changes, and return its whole output."""
        command = ["ansible-playbook", f"gpufleet.sharing.{name}", "-i", str(INVENTORY)]
        chart = self.environ["GPULAB_CHART"]
        options = [
            "-e",
            f"gpu_operator_chart_ref={chart}",
            "-e",
            "gpu_sharing_rollout_stable_seconds=1",
        ]
        command += more
        print(f"$ {shlex.join(command)}")
        lines: list[str] = []
        with subprocess.Popen(
            [*command, *options],
            cwd=ROOT,
            env=self.environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            task = ""
            for line in process.stdout or ():
                again = SERVER.match(line) and any(map(SERVER.match, lines))
                lines.append(line)
                task = line if line.startswith("TASK [") else task
                if not again:  # the server once, not with each table
                    show(line, task)
        output = "".join(lines)
        path = LOGS / f"demo-{log}.log"
        path.write_text(output, encoding="utf-8")
        if process.returncode:
            raise DemoError(f"{name} failed:\n{output[-3000:]}\nThe whole output is in {path}.")
        return output


def show(line: str, task: str) -> None:
    """Print what a spectator wants of Ansible's output: what changed, and the closing line."""
    if result := RESULT.match(line):
        print(f"  {result[1]}: {TASK.sub('', task).strip(' *]')}", flush=True)
    elif "failed=" in line and "ok=" in line:
        print("  " + " ".join(line.split()[:5]), flush=True)
    elif PROGRESS.match(line):
        print(f"  {line.strip()}", flush=True)
    elif SERVER.match(line):
        print("  " + line.strip(' \n",'), flush=True)


def changed_tasks(output: str) -> int:
    return sum(int(count) for count in re.findall(r"changed=(\d+)", output))


def tables(output: str) -> Iterator[list[str]]:
    """The tables of nodes that a playbook has shown, in their order."""
    decoder = json.JSONDecoder()
    for found in re.finditer(r"^\w+: \[[^\]]+\] => (?=\{)", output, re.MULTILINE):
        result, _end = decoder.raw_decode(output, found.end())
        shown = result.get("msg")
        lines = [str(line) for line in shown] if isinstance(shown, list) else []
        start = next((at for at, line in enumerate(lines) if line.startswith("node ")), None)
        if start is not None:
            yield lines[start:]


def table_with(output: str, column: str) -> str:
    """The last table of nodes with this column. Raises DemoError where there is none."""
    found = [table for table in tables(output) if column in table[0]]
    if not found:
        raise DemoError(f"The output has no table with the column '{column}'.")
    return "\n".join(found[-1])


def run() -> None:
    demo = Demo(dict(os.environ))
    demo.environ |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build" / "collections"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_NOCOLOR": "1",
    }
    LOGS.mkdir(parents=True, exist_ok=True)
    with demo.step("Build the lab's programs (once; minutes when the cache is cold)"):
        demo.lab("build")
    with demo.step("Boot a Kubernetes control plane with simulated GPU nodes"):
        print(SHORTENED)
        demo.lab("down", "--name", NAME)
        demo.lab("up", "--name", NAME, "--fleet", str(FLEET))
        demo.enter_lab()
    with demo.step("Apply the recipe of examples/recipe"):
        demo.playbook("site", "site")
    with demo.step("Prove it: one pod for each slot, one more that must wait, one that wants two"):
        proved = demo.playbook("verify", "verify")
        print("\n" + table_with(proved, PROBED))
    with demo.step("Apply it again: nothing is left to do"):
        again = demo.playbook("site", "again")
    if changed_tasks(again):
        raise DemoError(
            f"The second run changed {changed_tasks(again)} things; it should change none."
        )
    with demo.step("Change one number on the live fleet: dev gets 6 slots for each GPU"):
        six = json.dumps({"gpu_sharing_profiles": CHANGED})
        verified = demo.playbook("site", "change", "-e", six)
    print("\n" + table_with(verified, "expected"))
    print("\nexpected = physical x replicas; actual is what Kubernetes can allocate\n")
    for name, seconds in demo.seconds.items():
        print(f"{seconds:7.1f} s  {name}")
    print(NEXT)
    take_down(demo)


def take_down(demo: Demo) -> None:
    """Offer to take the lab down: ask where somebody can answer, otherwise show the command."""
    if not sys.stdin.isatty():
        print(f"The lab is still running. Take it down with: {DOWN}")
        return
    if input("The lab is still running. Take it down now? [y/N] ").strip().lower() in ("y", "yes"):
        demo.lab("down", "--name", NAME)
    else:
        print(f"Take it down later with: {DOWN}")


PROBED = "ran at once"
SHORTENED = """\
Times are shortened: simulated kubelets and plugins react within a second or two, and a node counts
as settled after 1 s (gpu_sharing_rollout_stable_seconds), not 20. tests/lab/README.md lists the
times of real nodes."""
NEXT = f"""
Times were shortened, as said above. What to type next:
  eval "$(tests/lab/lab env --name {NAME})"
  kubectl get nodes -L nvidia.com/device-plugin.config,nvidia.com/gpu.replicas
  kubectl get node prod-gpu-01 -o jsonpath='{{.status.allocatable.nvidia\\.com/gpu}}{{"\\n"}}'
  kubectl get controllerrevisions -n gpu-operator -l gpufleet.sharing/history   # who changed what

The outputs of the playbooks are in .build/logs/demo-*.log. For your own cluster see README.md.
"""


def main() -> int:
    try:
        run()
    except DemoError as error:
        print(f"{error}\nIf the lab is running, take it down with: {DOWN}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
