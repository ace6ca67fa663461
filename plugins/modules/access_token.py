#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: access_token
short_description: Keep a kubeconfig with an expiring token of a service account
version_added: 0.1.0
description:
  - Internal to the role P(gpufleet.sharing.gpu_access#role).
  - Each token is bound to a Secret of its own, so that it can be revoked. It is written to a file
    that only its owner may read, and is in no result and no message.
options:
  state:
    description:
      - V(present) issues a token if the file has none, or one that was revoked, has less than a
        third of its lifetime left, or has more left than O(seconds). Earlier tokens stay valid
        until they expire.
      - V(rotated) issues a token and revokes all earlier ones, each time.
      - V(absent) revokes all tokens and removes the file.
    type: str
    choices: [present, rotated, absent]
    default: present
  account:
    description: The account, as in C(gpu_access_accounts).
    type: str
    choices: [reader, operator]
    required: true
  namespace:
    description: Namespace of the service account.
    type: str
    default: gpu-operator
  path:
    description: >-
      The kubeconfig file on the host that runs the module. A file of another kind is not
      overwritten.
    type: path
    required: true
  seconds:
    description: >-
      Lifetime of a token. A server may allow less; a warning reports this.
    type: int
    default: 7776000
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
attributes:
  diff_mode:
    support: full
  idempotent:
    support: partial
    description: With O(state=rotated), each run issues a token.
"""

EXAMPLES = r"""
- name: Keep a kubeconfig for the nightly drift job
  gpufleet.sharing.access_token:
    account: reader
    path: /etc/gpufleet/prod-reader.kubeconfig
    seconds: 2592000
"""

RETURN = r"""
path:
  description: The kubeconfig file.
  type: str
  returned: always
expires:
  description: When the token expires (RFC 3339). Empty in check mode for a token that is new.
  type: str
  returned: with O(state=present) and O(state=rotated)
revoked:
  description: Number of tokens that were revoked, or would be in check mode.
  type: int
  returned: always
"""

from ..module_utils._common.versions import check_versions

check_versions()

from pathlib import Path
from typing import TYPE_CHECKING

from ..module_utils._access.kubeconfig import Kubeconfig, read_kubeconfig, write_kubeconfig
from ..module_utils._access.manifests import ACCOUNTS, service_account
from ..module_utils._access.token import TokenIssuer
from ..module_utils._common.errors import ClusterError
from ..module_utils._common.module_entry import Result, Spec, run_module, warn
from ..module_utils._common.text import plural
from ..module_utils._common.values import check_minimums
from ..module_utils._kube.client import connect

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

ROTATED = "rotated"
ABSENT = "absent"
SHORTEST = 600  # seconds, as the API server has it

SPEC: Spec = {
    "state": {"type": "str", "choices": ["present", ROTATED, ABSENT], "default": "present"},
    "account": {"type": "str", "choices": list(ACCOUNTS), "required": True},
    "namespace": {"type": "str", "default": "gpu-operator"},
    "path": {"type": "path", "required": True},
    "seconds": {"type": "int", "default": 7776000},
}


class Keeper:
    """Keeps the file, and the tokens of its account."""

    def __init__(self, module: AnsibleModule) -> None:
        given = module.params
        self._module, self._seconds = module, given["seconds"]
        self._namespace = given["namespace"]
        self._account = service_account(given["account"])
        self._cluster = connect(module)
        self._issuer = TokenIssuer(self._cluster, self._namespace, self._account)
        self._path = Path(given["path"])
        self._found = read_kubeconfig(self._path)
        self._entry = self._cluster.kubeconfig_entry()

    def remove(self) -> Result:
        ours = self._found is not None and self._found.token.subject == self._issuer.subject
        if self._found and not ours:
            warn(self._module, f"{self._path} stays: it is of {self._found.token.subject}.")
        secrets = self._issuer.secrets()
        if not self._module.check_mode:
            self._issuer.revoke(secrets)
            if ours:
                self._path.unlink(missing_ok=True)
        after = "" if ours else self._described()
        return self._result(bool(secrets or ours), self._described(), after, len(secrets))

    def keep(self) -> Result:
        """Leave a good token alone, or issue one."""
        found = self._found
        if not (found and self._issuer.accepts(found.token)):
            return self._replace(rotate=False)
        if not found.token.fresh(self._cluster.now(), self._seconds):
            return self._replace(rotate=False)
        moved = found.cluster != self._entry
        if moved and not self._module.check_mode:
            self._write(Kubeconfig(self._entry, found.token))
        described = self._described()
        return self._result(moved, described, described) | {"expires": found.token.expiry}

    def rotate(self) -> Result:
        return self._replace(rotate=True)

    def _replace(self, *, rotate: bool) -> Result:
        before = self._described()
        old = self._issuer.secrets() if rotate else self._issuer.expired()
        if self._module.check_mode:
            return self._result(True, before, "a new token", len(old)) | {"expires": ""}
        if not self._issuer.account_uid():
            raise ClusterError(
                f"There is no service account {self._account} in namespace {self._namespace} on"
                f" {self._cluster.server}. Create it first."
            )
        token = self._issuer.issue(self._seconds)
        self._write(Kubeconfig(self._entry, token))
        self._issuer.revoke(old)
        granted = round((token.expires - token.issued).total_seconds())
        if granted < self._seconds * 0.9:
            warn(
                self._module,
                f"{self._cluster.server} grants tokens for {granted} s only; O(seconds) is"
                f" {self._seconds}.",
            )
        return self._result(True, before, self._described(), len(old)) | {"expires": token.expiry}

    def _write(self, kubeconfig: Kubeconfig) -> None:
        write_kubeconfig(self._path, kubeconfig, self._namespace)
        self._found = kubeconfig

    def _described(self) -> str:
        return f"expires {self._found.token.expires:%Y-%m-%d %H:%M} UTC" if self._found else ""

    def _result(self, changed: bool, before: str, after: str, revoked: int = 0) -> Result:
        header = f"token of {self._account} in {self._path}"
        if revoked:
            after = f"{after}\n{plural(revoked, 'token')} revoked"
        lines = (f"{text}\n" if text else "" for text in (before, after))
        diff = dict(zip(("before", "after"), lines, strict=True))
        return {
            "changed": changed,
            "path": str(self._path),
            "revoked": revoked,
            "diff": diff | {"before_header": header, "after_header": header},
        }


def run(module: AnsibleModule) -> Result:
    check_minimums(module.params, {"seconds": SHORTEST})
    keeper = Keeper(module)
    if module.params["state"] == ABSENT:
        return keeper.remove()
    return keeper.rotate() if module.params["state"] == ROTATED else keeper.keep()


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
