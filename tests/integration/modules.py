# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of the collection against a lab without Ansible around them: main() in a child of the
test's own process, which has imported everything already. An ansible-playbook of site costs 10 s of
processor time, most of it for the imports of eight Python programs; the same modules cost 1 s here.

For what modules do, and to put a fleet into a state. What playbooks, roles and action plugins do is
tested by Lab.playbook.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.testing import patch_module_args

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.module_entry import (
    run_module,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.lease import default_holder
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    checked_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.modules import rollout
from ansible_collections.gpufleet.sharing.tests.integration.answers import Answers
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    GROUPS,
    PROFILES,
    Lab,
    Run,
)

PACKAGE = "ansible_collections.gpufleet.sharing.plugins.modules"
RELEASE = "gpu-operator"
NAMESPACE = "gpu-operator"
CONFIG_MAP = "device-plugin-config"
POINTER = {"name": CONFIG_MAP, "default": "default"}
WITHOUT_CLUSTER = ("assignment_info", "report")
SOON = {"timeout": 60, "stable_seconds": 1}


def call(
    lab: Lab, name: str, arguments: Mapping[str, Any], *, check: bool = False
) -> dict[str, Any]:
    """Run one module and return what it answers; of credentials, a lab's kubeconfig is used where
    the arguments name no host.
    """
    main: Callable[[], None] = importlib.import_module(f"{PACKAGE}.{name}").main
    stands_alone = "host" in arguments or name in WITHOUT_CLUSTER
    own = {} if stands_alone else {"kubeconfig": lab.environ["KUBECONFIG"]}
    given = {**own, **arguments, "_ansible_check_mode": check, "_ansible_diff": True}
    with tempfile.TemporaryDirectory() as folder:
        answer, progress = Path(folder) / "answer", Path(folder) / "progress"
        progress.touch()
        if name == "rollout":  # with the lines that its action plugin shows
            main = partial(_roll_out, progress)
        process = multiprocessing.get_context("fork").Process(
            target=_child, args=(main, given, lab.environ, answer)
        )
        process.start()
        process.join()
        found = json.loads(answer.read_text(encoding="utf-8"))
        said = progress.read_text(encoding="utf-8").splitlines()
    assert isinstance(found, dict)
    warnings = [_said(warning) for warning in found.pop("warnings", [])]
    more = {"warnings": warnings, "said": said}
    return found | {name: lines for name, lines in more.items() if lines}


def _roll_out(progress: Path) -> None:
    with progress.open("w", encoding="utf-8") as file:
        work = partial(rollout.run, report=lambda line: print(line, file=file))
        run_module(rollout.SPEC, work)


def _said(warning: str | Mapping[str, Any]) -> str:
    """The text of a warning; since ansible-core 2.19 it is an event."""
    return warning if isinstance(warning, str) else str(warning["event"]["msg"])


def _child(
    main: Callable[[], None], arguments: dict[str, Any], environ: Mapping[str, str], answer: Path
) -> None:
    os.environ.clear()
    os.environ.update(environ)
    with (
        answer.open("w", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        patch_module_args(arguments),
    ):
        main()


@dataclass(frozen=True)
class Wanted:
    """What an inventory asks for; options are those of the module rollout."""

    groups: Mapping[str, Any] = field(default_factory=lambda: GROUPS)
    profiles: Mapping[str, Any] = field(default_factory=lambda: PROFILES)
    mode: str = "in_place"
    values: Mapping[str, Any] = field(default_factory=dict)
    prune: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    limit: Collection[str] = ()  # the nodes to act on, where not all

    @property
    def known(self) -> dict[str, str | None]:
        """Profiles of all nodes of the inventory."""
        return {
            node: group.get("vars", {}).get("gpu_sharing_profile")
            for group in self.groups.values()
            for node in group["hosts"]
        }

    @property
    def assignments(self) -> dict[str, str | None]:
        """Those of the nodes to act on."""
        chosen = self.limit or self.known
        return {node: profile for node, profile in self.known.items() if node in chosen}

    def of_profiles(self) -> dict[str, Any]:
        plugin = self.values.get("devicePlugin", {})
        return {
            "profiles": self.profiles,
            "mode": self.mode,
            "default_profile": "default",
            "mig_strategy": self.values.get("mig", {}).get("strategy", "unknown"),
            "plugin_version": plugin.get("version", ""),
        }

    @property
    def prunes(self) -> bool:
        """Whether the ConfigMap is looked at once more in the end."""
        return self.prune or self.mode == "versioned"

    def of_pruning(self) -> dict[str, Any]:
        return {**self.of_profiles(), "prune": self.prune, "final": not self.limit}

    def of_mig(self) -> dict[str, Any]:
        drains = ("batches", "drain", "drain_timeout")
        given = {name: value for name, value in self.options.items() if name in drains}
        return {**self._of_nodes(), "timeout": 60, **given}

    def _of_nodes(self) -> dict[str, Any]:
        return {"nodes": self.nodes, "profiles": self.profiles, "default_profile": "default"}

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """All nodes of the inventory, as modules take them."""
        group_of = {node: name for name, each in self.groups.items() for node in each["hosts"]}
        return [
            {
                "name": node,
                "profile": profile,
                "group": group_of[node],
                "selected": node in self.assignments,
            }
            for node, profile in self.known.items()
        ]

    def of_rollout(self) -> dict[str, Any]:
        return {
            **self._of_nodes(),
            "mode": self.mode,
            "unavailable_nodes": "fail",
            **SOON,
            **self.options,
        }


def planned(lab: Lab, wanted: Wanted) -> Run:
    """What the preflight of site does: all modules in check mode."""
    return _run(call(lab, name, arguments, check=True) for name, arguments in _modules(wanted))


def differing(lab: Lab, wanted: Wanted) -> list[str]:
    """The modules that would change something; site does nothing where there is none."""
    changing = []
    last = [("profiles", wanted.of_pruning())] if wanted.prunes else []
    for name, arguments in (*_modules(wanted), *last):
        found = call(lab, name, arguments, check=True)
        assert not found.get("failed"), found
        if found["changed"] or found["differs"]:
            changing.append(name)
    return changing


def applied(lab: Lab, wanted: Wanted) -> Run:
    """Bring a fleet to what is wanted, by the modules that site runs, in its order, and Helm's own
    program. rc is 0 when none has failed; the output is every text that they answered.
    """
    plan = planned(lab, wanted)
    return _run(_steps(lab, wanted)) if plan.rc == 0 else plan


def converge(lab: Lab, wanted: Wanted | None = None) -> None:
    """Have a fleet that is as asked for, all of it at once."""
    asked = wanted or Wanted()
    options = {"batches": ["100%"], **asked.options}
    applied(lab, _replace(asked, options)).succeeded()


def _replace(wanted: Wanted, options: Mapping[str, Any]) -> Wanted:
    return Wanted(**{**vars(wanted), "options": options})


def _modules(wanted: Wanted) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "profiles", wanted.of_profiles()
    known = checked_profiles(wanted.profiles)
    named = {profile or "default" for profile in wanted.assignments.values()}
    if any(known[name].mig for name in named if name in known):
        yield "mig_config", wanted.of_mig()
    yield "rollout", wanted.of_rollout()


def _steps(lab: Lab, wanted: Wanted) -> Iterator[dict[str, Any]]:
    run = {"run": default_holder()}
    (name, arguments), *nodes = _modules(wanted)
    yield (first := call(lab, name, {**arguments, **run, "keep_lease": True}))
    yield call(lab, "helm_release", {"chart_ref": "-", "pointer": POINTER, **run})
    deploy(lab, wanted.values)
    yield call(
        lab, "cluster_policy", {"state": "checked", "default_profile": "default", "timeout": 300}
    )
    for name, more in nodes:
        yield call(lab, name, {**more, **run})
    if wanted.prunes or first.get("superseded"):
        yield call(lab, "profiles", {**wanted.of_pruning(), **run})


def deploy(lab: Lab, values: Mapping[str, Any]) -> None:
    """Have Helm's release, with these values and our pointer, and no others."""
    plugin = {**values.get("devicePlugin", {}), "config": POINTER}
    wanted = {**values, "devicePlugin": plugin}
    release = [RELEASE, "-n", NAMESPACE]
    has = subprocess.run(
        ["helm", "get", "values", *release, "-o", "json"],
        env=lab.environ,
        check=False,
        text=True,
        capture_output=True,
    )
    if has.returncode == 0 and json.loads(has.stdout) == wanted:
        return
    install = ["helm", "upgrade", "--install", *release, lab.environ["GPULAB_CHART"]]
    subprocess.run(
        [*install, "--reset-values", "-f", "-", "--wait", "--timeout", "300s"],
        env=lab.environ,
        check=True,
        text=True,
        input=json.dumps(wanted),
        capture_output=True,
    )


def _run(answers: Iterator[dict[str, Any]]) -> Run:
    """Go on until one has failed."""
    results: list[dict[str, Any]] = []
    for answer in answers:
        results.append(answer)
        if answer.get("failed"):
            break
    failures = [answer for answer in results if answer.get("failed")]
    given = Answers(results, failures, [])
    return Run(2 if failures else 0, "\n".join(given.texts), given)
