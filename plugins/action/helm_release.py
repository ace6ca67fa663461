# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of helm_release: reads, merges and deploys through the Helm modules of
kubernetes.core.
"""

from __future__ import annotations

from ..module_utils._common.versions import check_versions

check_versions()

import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.validation import check_type_dict
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ..module_utils._common.errors import SharingError
from ..module_utils._common.options import OPTION_NAMES, with_names
from ..module_utils._common.secrets import Secrets, secrets_of_options, secrets_of_values
from ..module_utils._kube.client import connect
from ..module_utils._kube.connection import read_kubeconfig
from ..module_utils._kube.lease import hold_lease
from ..module_utils._provider import release
from ..module_utils._provider.helm import ReleaseRecord, failure_message
from ..plugin_utils._connection.files import private_temporary_files
from ..plugin_utils._display import show
from ..plugin_utils._helm_program import require_helm
from ..plugin_utils._results import add_warnings, without_noise
from ..plugin_utils._secret_arguments import take_arguments

MODULE = "gpufleet.sharing.helm_release"
NOISES = (
    "Install helm diff",  # printed on every run without that plugin
    "'status.values' return value",  # printed whenever there is a release; we read the new one
)
PENDING = (
    "Revision {revision} of the Helm release is {status} for {age} s: another run may still use"
    " it. Waiting for it to end, {left} s at most (O(timeout))."
)
LOOK_EVERY = 3.0  # seconds
RECOVERED = (
    "Revision {revision} of the release was left {status} by a run that was killed, {age} s ago."
    " Its Secret is removed, so that Helm can continue."
)
WRONG_VALUES = (
    "O(values) is neither a mapping nor a text of JSON or key=value. It is not shown, since it can"
    " contain secrets."
)
KEPT = ("changed", "failed", "msg", "warnings", "deprecations", "unreachable")  # of a failure
OUTPUT = ("msg", "module_stdout", "module_stderr")  # that -v shows of it
AUTH = ("kubeconfig", "context", "host", "api_key", "ca_cert", "validate_certs")
Result = dict[str, object]


class ActionModule(ActionBase):  # type: ignore[misc]
    """One task: recover, read, merge, deploy. Values of the release may be secret, so neither
    results nor messages contain them.
    """

    _said = False
    _current: Mapping[str, object] = MappingProxyType({})

    def run(self, tmp: str | None = None, task_vars: Mapping[str, object] | None = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        self._variables = dict(task_vars or {})
        self._options = take_arguments(self)
        with private_temporary_files(Path(constants.DEFAULT_LOCAL_TMP)):
            return result | self._manage(self._options)

    def _manage(self, options: Result) -> Result:
        """Bring the release to its state."""
        current, seen = self._look(options)
        while not seen.get("failed") and seen.get("seconds_left"):
            self._wait(seen)
            current, seen = self._look(options)
        if seen.get("failed"):
            return seen
        values = _values(current)
        if options.get("state") == "absent":
            return self._remove(options, values, seen)
        wanted = merge_values(values, options)
        try:
            release.check_values(wanted)
        except SharingError as error:
            raise AnsibleActionFail(self._named(str(error))) from None
        create = not seen["namespace_exists"]
        with self._lease(options) as waited:
            if waited:  # another run may have changed the values since
                current = self._helm("helm_info", {})
                if current.get("failed"):
                    return current
                values = _values(current)
                wanted = merge_values(values, options)
            if retry := bool(seen["failed_upgrade"]) and wanted == values:
                self._ours(options | {"retry": True})
            deployed = self._deploy(options, values, wanted, create_namespace=create)
            if retry and self._task.check_mode and not deployed.get("failed"):
                deployed |= {"changed": True, "differs": True}
            self._note(options, seen, deployed)
        if stuck := seen["recovered"]:
            add_warnings(deployed, [RECOVERED.format(**stuck)])  # type: ignore[arg-type]
        return deployed | {"recovered": stuck}

    def _note(self, options: Result, seen: Result, deployed: Result) -> None:
        """Record that the release is ours, after Helm has installed it; and say why pods could not
        be created, if Helm has failed.
        """
        failed, note = bool(deployed.get("failed")), seen["note"]
        known = seen["exists"] and not (isinstance(note, dict) and note.get("installing"))
        if self._task.check_mode or (known and not failed):
            return
        noted = self._ours(options | {"outcome": "failed" if failed else "succeeded"})
        if failed:
            deployed["msg"] = f"{deployed['msg']}{noted.get('causes') or ''}"

    def _look(self, options: Result) -> tuple[Result, Result]:
        """The release as Helm tells it, and what our module sees of it."""
        current = self._helm("helm_info", {})
        if current.get("failed"):
            require_helm(self)  # to say it in one line where that is the reason
            return current, current
        self._current = _values(current)
        pointer = {
            name: text
            for name, text in release.pointer_in(self._current).items()
            if text and name != "create"
        }
        return current, self._ours(options | {"previous_pointer": pointer})

    def _wait(self, seen: Result) -> None:
        """Wait for Helm if another run may still use the release."""
        host = self._variables.get("inventory_hostname") or ""
        if not self._said:
            text = PENDING.format(**seen["pending"], left=seen["seconds_left"])  # type: ignore[arg-type]
            show(f"{host}: {self._named(text)}")
        self._said = True
        time.sleep(min(float(str(seen["seconds_left"])), LOOK_EVERY))

    def _deploy(
        self,
        options: Mapping[str, object],
        before: Mapping[str, object],
        after: Result,
        *,
        create_namespace: bool = False,
    ) -> Result:
        chart = {
            name: options[name] for name in ("chart_repo_url", "chart_version") if options.get(name)
        }
        deployed = self._helm(
            "helm",
            {
                "chart_ref": options.get("chart_ref"),
                **chart,
                "release_values": after,
                "create_namespace": create_namespace,
                "wait": True,
                "timeout": f"{options.get('timeout') or 600}s",
            },
        )
        found = {name: deployed[name] for name in KEPT if name in deployed}
        if found.get("failed"):
            return found
        return found | {
            "changed_values": release.changed_keys(before, after),
            "diff": release.values_diff(before, after) if deployed.get("changed") else {},
            "differs": bool(deployed.get("changed")),
        }

    def _remove(self, options: Result, values: Result, seen: Result) -> Result:
        """Uninstall what we installed; give back what was there before."""
        noted = seen["note"]
        note = ReleaseRecord(**noted) if isinstance(noted, dict) and noted else None
        others = bool(seen["others"])
        if not seen["exists"]:
            if note:  # by a run that was killed after Helm had done it
                self._ours(options | {"forget": True})
            changed = bool(note or seen["recovered"])
            return {"changed": changed, "recovered": seen["recovered"], "left": others}
        if note is None:
            return {
                "changed": bool(seen["changed"]),  # a note of one that has gone
                "recovered": {},
                "left": True,
                "msg": "This release was not touched by gpufleet.sharing.",
            }
        with self._lease(options):
            if note.ours:
                removed = self._helm("helm", {"release_state": "absent", "wait": True})
            else:
                removed = self._deploy(options, values, release.with_pointer(values, note.pointer))
        if removed.get("failed"):
            return removed
        self._ours(options | {"forget": True})
        name = f"Helm release {options.get('name') or 'gpu-operator'}"
        gone = {"before": {name: release.changed_keys(values, {})}, "after": {}}
        shown = gone if note.ours else removed.get("diff", {})
        return {
            "changed": True,
            "recovered": seen["recovered"],
            "left": others or not note.ours,
            "diff": shown,
        }

    @contextmanager
    def _lease(self, options: Mapping[str, object]) -> Iterator[bool]:
        """Hold the Lease of writing runs while Helm runs, which may take minutes. Yields
        whether another run was waited for.
        """
        if self._task.check_mode:
            yield False
            return
        try:
            cluster = connect(_Options(dict(self._options)))
            namespace = str(options.get("namespace") or "gpu-operator")
            name, said = str(options.get("run") or ""), partial(show, how="warning")
            with hold_lease(cluster, namespace, name, keep=True, log=said) as lease:
                yield lease.waited
        except SharingError as error:
            raise AnsibleActionFail(self._named(str(error))) from None

    def _named(self, text: str) -> str:
        """A message with options under the names by which the reader knows them."""
        return with_names(text, self._options.get(OPTION_NAMES))

    def _low_level_execute_command(
        self, *args: object, **kwargs: object
    ) -> MutableMapping[str, Any]:
        """As of every action; but what modules print comes without noise."""
        done: MutableMapping[str, Any] = super()._low_level_execute_command(*args, **kwargs)
        done["stdout"] = without_noise(done["stdout"], NOISES)
        done["stdout_lines"] = done["stdout"].splitlines()
        return done

    def _module(self, name: str, arguments: Result) -> Result:
        found: Result = self._execute_module(name, module_args=arguments, task_vars=self._variables)
        found.pop("invocation", None)
        return found

    def _ours(self, arguments: Result) -> Result:
        """Run our module, which does not need the values."""
        return self._module(MODULE, {n: v for n, v in arguments.items() if n != "values"})

    def _hide(self, found: Result) -> Result:
        """A failure of a Helm module without the values of the release and without credentials; its
        whole output is shown with -v.
        """
        _path, kubeconfig = read_kubeconfig(self._options)
        values = (
            release.with_pointer(each, {}) for each in (asked_values(self._options), self._current)
        )
        secrets = Secrets(
            secrets_of_values(*values)
            | secrets_of_options({**self._options, "kubeconfig": kubeconfig})
        )
        output = "\n".join(str(found[name]) for name in OUTPUT if found.get(name))
        self._display.v(secrets.hide(output), self._variables.get("inventory_hostname"))
        kept = {name: found[name] for name in KEPT if name in found}
        return {name: secrets.hide_in(value) for name, value in kept.items()}

    def _helm(self, module: str, arguments: Result) -> Result:
        options = self._options
        target = {
            "release_name": options.get("name") or "gpu-operator",
            "release_namespace": options.get("namespace") or "gpu-operator",
        }
        auth = {name: options[name] for name in AUTH if options.get(name) is not None}
        found = self._module(f"kubernetes.core.{module}", {**auth, **target, **arguments})
        if not found.get("failed"):
            return found
        found = self._hide(found)
        text = str(found.get("msg") or "")
        if "Helm command" not in text:
            return found
        release_name, namespace = map(str, target.values())
        return found | {"msg": self._named(failure_message(release_name, namespace, text))}


@dataclass
class _Options:
    """As much of a module as the connection needs: its options."""

    params: dict[str, object]


def merge_values(current: Mapping[str, object], options: Mapping[str, object]) -> Result:
    """The release's values, overridden by the user's and by the device plugin config."""
    pointer = check_type_dict(options.get("pointer") or {})
    exact = boolean(options.get("values_exact") or False, strict=False)
    return release.merge_values(current, asked_values(options), pointer, exact=exact)


def asked_values(options: Mapping[str, object]) -> Result:
    """The values of the user, perhaps a text of JSON, as surveys give it."""
    try:
        return dict(check_type_dict(options.get("values") or {}))
    except TypeError:
        known = options.get(OPTION_NAMES)
        raise AnsibleActionFail(with_names(WRONG_VALUES, known)) from None  # type: ignore[arg-type]


def _values(answer: Mapping[str, object]) -> Result:
    """The user's values of a release, from the answer of helm_info."""
    status = answer.get("status")
    told = status if isinstance(status, dict) else {}
    found = told.get("release_values", told.get("values"))  # the older name goes with version 8
    return dict(found) if isinstance(found, dict) else {}
