# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the reflector, a list of the API server that a watch keeps up to date.

With it a wait needs neither sleeps nor repeated lists of thousands of nodes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from .._common.backoff import pauses
from .._common.documents import text_at
from .._common.errors import ClusterError
from .client import Cluster
from .payloads import Json

T = TypeVar("T")
DENIED = (401, 403)


class Reflector(Generic[T]):
    """The objects of one list by uid, each read into a value.

    The constructor lists; from start() on a thread watches. changed is called with the values
    before and after, None where the object does not exist. After a broken connection, a restart of
    the server or an expired resourceVersion it lists again. trouble says why it may be out of date.

    With several fields it lists by each field selector, and one watch without any serves all of
    them, so that other objects are read too once they change.
    """

    def __init__(
        self,
        cluster: Cluster,
        path: str,
        read: Callable[[object], T],
        changed: Callable[[T | None, T | None], None],
        *,
        labels: str = "",
        fields: str | Sequence[str] = "",
    ) -> None:
        self._cluster, self._path = cluster, path
        self._lists = [fields] if isinstance(fields, str) else fields
        self._labels, self._fields = labels, fields if isinstance(fields, str) else ""
        self._read, self._changed = read, changed
        self._values: dict[str, T] = {}
        self._since = ""
        self._stopped = threading.Event()
        self.trouble = ""
        self.refused = False  # the watch is not, or no longer, permitted
        self._list()

    def start(self) -> None:
        threading.Thread(target=self._watch, daemon=True, name=f"watch {self._path}").start()

    def stop(self) -> None:
        self._stopped.set()

    def _list(self) -> None:
        found: dict[str, T] = {}

        def list_some(fields: str) -> str:
            pairs, version = self._cluster.snapshot(
                self._path,
                lambda item: (text_at(item, "metadata", "uid"), self._read(item)),
                labels=self._labels,
                fields=fields,
            )
            found.update(pairs)
            return version

        first, *others = self._lists
        self._since = list_some(first)  # the others are not older, so the watch misses nothing
        if failures := self._cluster.for_each(others, list_some) if others else {}:
            raise ClusterError(min(failures.values()))
        before, self._values = self._values, found
        # Deleted objects first: one of the same name may have replaced them.
        for uid in [*(before.keys() - found.keys()), *found]:
            if before.get(uid) != found.get(uid):
                self._changed(before.get(uid), found.get(uid))

    def _watch(self) -> None:
        pause = pauses()
        while not self._stopped.is_set():
            try:
                if self.trouble:
                    self._list()
                    self.trouble = ""
                for event in self._cluster.watch(
                    self._path, self._since, labels=self._labels, fields=self._fields
                ):
                    self._note(event)
                    pause = pauses()
                    if self._stopped.is_set():
                        return
            except ClusterError as error:
                self.trouble = str(error)
                if error.status in DENIED:
                    self.refused = True
                    return
            self._stopped.wait(next(pause))  # some servers and proxies end every watch at once

    def _note(self, event: Json) -> None:
        document = event.get("object")
        self._since = text_at(document, "metadata", "resourceVersion") or self._since
        if event.get("type") == "BOOKMARK":
            return
        uid = text_at(document, "metadata", "uid")
        before = self._values.get(uid)
        if event.get("type") == "DELETED":
            self._values.pop(uid, None)
            self._changed(before, None)
            return
        value = self._read(document)
        self._values[uid] = value
        if value != before:
            self._changed(before, value)
