# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: tokens of a service account that expire and can be revoked.

Each token is bound to a Secret of its own, which has no content: the API server rejects the token
as soon as that Secret, or the service account, is gone.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .._common.documents import name_of, read_time, text_at
from .._common.errors import ClusterError
from .._common.names import MANAGED_BY, MANAGED_BY_LABEL
from .._kube.client import Cluster
from .._kube.objects import namespaced, object_path

TOKEN_LABEL = "gpufleet.sharing/token-of"  # of a Secret: the service account
EXPIRES_ANNOTATION = "gpufleet.sharing/token-expires"
_SLACK = timedelta(minutes=5)  # that the server may add, and clocks may differ


@dataclass(frozen=True)
class Token:
    """A token, and what it says of itself. Its text is not in its repr."""

    text: str
    subject: str
    account_uid: str
    secret_uid: str
    issued: datetime
    expires: datetime

    def __repr__(self) -> str:
        return f"<token of {self.subject}, expires {self.expires:%Y-%m-%d %H:%M} UTC>"

    @property
    def expiry(self) -> str:
        return f"{self.expires:%Y-%m-%dT%H:%M:%SZ}"

    def fresh(self, now: datetime, seconds: int) -> bool:
        """Whether a third of its lifetime is left, and not more than asked for."""
        left, asked = self.expires - now, timedelta(seconds=seconds)
        return min(self.expires - self.issued, asked) / 3 < left <= asked + _SLACK


def read_token(text: str) -> Token | None:
    """None for what is not a bound token of a service account (a JSON Web Token)."""
    try:
        payload = text.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        issued, expires = (datetime.fromtimestamp(claims[name], UTC) for name in ("iat", "exp"))
        subject = str(claims["sub"])
    except (IndexError, KeyError, TypeError, ValueError, OverflowError):
        return None
    bound = claims.get("kubernetes.io")
    account, secret = (text_at(bound, kind, "uid") for kind in ("serviceaccount", "secret"))
    return Token(text, subject, account, secret, issued, expires)


@dataclass(frozen=True)
class BoundSecret:
    """The Secret that a token is bound to. expires is when the token does, at the latest."""

    name: str
    uid: str
    expires: datetime | None


class TokenIssuer:
    """Issues and revokes tokens of one service account."""

    def __init__(self, cluster: Cluster, namespace: str, account: str) -> None:
        self._cluster, self._account = cluster, account
        self._secrets = namespaced("secrets", namespace)
        self._path = object_path(namespaced("serviceaccounts", namespace), account)
        self.subject = f"system:serviceaccount:{namespace}:{account}"

    def account_uid(self) -> str:
        """Empty if the service account does not exist."""
        return text_at(self._cluster.find(self._path), "metadata", "uid")

    def secrets(self) -> list[BoundSecret]:
        labels = f"{TOKEN_LABEL}={self._account}"
        return [
            BoundSecret(
                name_of(each),
                text_at(each, "metadata", "uid"),
                read_time(text_at(each, "metadata", "annotations", EXPIRES_ANNOTATION)),
            )
            for each in self._cluster.items(self._secrets, labels=labels, metadata_only=True)
        ]

    def accepts(self, token: Token) -> bool:
        """Whether neither the account nor the token's Secret has been removed."""
        if token.subject != self.subject or token.account_uid != self.account_uid():
            return False
        return token.secret_uid in {secret.uid for secret in self.secrets()}

    def issue(self, seconds: int) -> Token:
        """A token of that lifetime, or of the longest that the server allows. Raises ClusterError,
        also if the server does not bind the token to its Secret.
        """
        expires = self._cluster.now() + timedelta(seconds=seconds) + _SLACK
        metadata = {
            "generateName": f"{self._account}-token-",
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, TOKEN_LABEL: self._account},
            "annotations": {EXPIRES_ANNOTATION: f"{expires:%Y-%m-%dT%H:%M:%SZ}"},
        }
        secret = self._cluster.create(
            self._secrets, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
        )
        name, uid = name_of(secret), text_at(secret, "metadata", "uid")
        reference = {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": uid}
        answer = self._cluster.create(
            f"{self._path}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": seconds, "boundObjectRef": reference},
            },
        )
        token = read_token(text_at(answer, "status", "token"))
        if token is None or token.secret_uid != uid:
            raise ClusterError(
                f"{self._cluster.server} answered with a token that is not bound to the Secret"
                f" {name}, so it could not be revoked. It is not used."
            )
        return token

    def expired(self) -> list[BoundSecret]:
        found = self.secrets()
        now = self._cluster.now()  # of the answer
        return [each for each in found if each.expires and each.expires < now]

    def revoke(self, secrets: Iterable[BoundSecret]) -> None:
        """Delete the Secrets of tokens."""
        for secret in secrets:
            self._cluster.delete(object_path(self._secrets, secret.name), uid=secret.uid)
