# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reflectors: lists that a watch keeps up to date, also after broken connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import urllib3

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import text_at
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import ClusterError
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.payloads import Json
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.reflector import Reflector
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi, FakeStream

NODES = "/api/v1/nodes"
Change = tuple[str | None, str | None]


def eventually(condition: Callable[[], object]) -> None:
    """Threads bring what is waited for within moments."""
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.005)


@dataclass
class Watched:
    """A reflector of nodes: each as uid=colour, by its label."""

    api: FakeApi = field(default_factory=FakeApi)
    changes: list[Change] = field(default_factory=list)
    reflectors: list[Reflector[str]] = field(default_factory=list)

    def put(self, name: str, colour: str, uid: str = "") -> None:
        metadata = {"uid": uid or name, "labels": {"colour": colour}}
        self.api.put(f"{NODES}/{name}", {"metadata": metadata})

    def drop(self, name: str) -> None:
        self.api.drop(f"{NODES}/{name}")

    def reflector(self, labels: str = "") -> Reflector[str]:
        found = Reflector(self.api.cluster, NODES, read, self.note, labels=labels)
        self.reflectors.append(found)
        return found

    def note(self, before: str | None, after: str | None) -> None:
        self.changes.append((before, after))

    def follow(self, labels: str = "") -> Reflector[str]:
        found = self.reflector(labels)
        found.start()
        return found

    def told(self, *changes: Change) -> None:
        """These changes are told, in this order, after those before, and no others."""
        eventually(lambda: len(self.changes) >= len(changes))
        assert self.changes == list(changes)
        self.changes.clear()

    def asked(self, method: str = "GET") -> int:
        return sum(request == f"{method} {NODES}" for request in self.api.requests)


def read(document: object) -> str:
    colour = text_at(document, "metadata", "labels", "colour")
    return f"{text_at(document, 'metadata', 'uid')}={colour}"


@pytest.fixture
def watched() -> Iterator[Watched]:
    found = Watched()
    yield found
    for reflector in found.reflectors:
        reflector.stop()
    found.api.hang_up()


def test_reflector_lists_at_once(watched: Watched) -> None:
    watched.put("a", "red")
    watched.put("b", "red")
    reflector = watched.reflector()
    watched.put("c", "red")  # it is not followed yet
    assert sorted(watched.changes, key=str) == [(None, "a=red"), (None, "b=red")]
    assert reflector.trouble == ""


def test_reflector_follows_without_listing_again(watched: Watched) -> None:
    watched.put("a", "red")
    reflector = watched.reflector()
    watched.put("b", "red")  # between the list and the watch
    reflector.start()
    watched.told((None, "a=red"), (None, "b=red"))
    watched.put("a", "blue")
    watched.told(("a=red", "a=blue"))
    watched.put("a", "blue")  # something that is not read has changed
    watched.drop("b")
    watched.told(("b=red", None))
    assert watched.asked() == 2
    assert reflector.trouble == ""


def test_reflector_of_a_node_made_again_tells_of_the_removal_first(watched: Watched) -> None:
    watched.put("a", "red", "u1")
    watched.follow()
    watched.drop("a")
    watched.put("a", "red", "u2")
    watched.told((None, "u1=red"), ("u1=red", None), (None, "u2=red"))


@pytest.mark.parametrize("labels", ["kind=gpu", "kind in (gpu,mig)", "kind"])
def test_reflector_of_some(watched: Watched, labels: str) -> None:
    for name, kind in (("a", "gpu"), ("b", "cpu")):
        metadata = {"uid": name, "labels": {"colour": "red", "kind": kind}}
        if labels == "kind" and kind == "cpu":
            del metadata["labels"]["kind"]  # type: ignore[attr-defined]
        watched.api.put(f"{NODES}/{name}", {"metadata": metadata})
    watched.follow(labels)
    watched.told((None, "a=red"))


def test_reflector_of_several_fields_lists_each_and_watches_once(watched: Watched) -> None:
    for name in "abc":
        watched.put(name, "red")
    fields = [f"metadata.name={name}" for name in "ab"]
    reflector = Reflector(watched.api.cluster, NODES, read, watched.note, fields=fields)
    watched.reflectors.append(reflector)
    assert sorted(watched.changes, key=str) == [(None, "a=red"), (None, "b=red")]
    watched.changes.clear()
    watched.put("b", "blue")  # between the lists and the watch
    reflector.start()
    watched.told(("b=red", "b=blue"))
    watched.put("c", "blue")  # another object is read once it changes
    watched.told((None, "c=blue"))
    assert watched.asked() == 2 + 1


def test_reflector_of_several_fields_that_cannot_list_one(watched: Watched) -> None:
    asked = []

    def fault(_method: str, _path: str) -> int:
        asked.append(1)
        return 500 if len(asked) > 1 else 0

    watched.api.fault = fault
    with pytest.raises(ClusterError, match="injected 500"):
        Reflector(watched.api.cluster, NODES, read, watched.note, fields=["a=b", "a=c"])


def test_reflector_goes_on_after_the_server_ends_a_watch(watched: Watched) -> None:
    watched.put("a", "red")
    reflector = watched.follow()
    eventually(lambda: watched.asked() == 2)
    watched.api.hang_up()
    eventually(lambda: watched.asked() == 3)
    watched.put("a", "blue")
    watched.told((None, "a=red"), ("a=red", "a=blue"))
    assert reflector.trouble == ""
    assert watched.asked() == 3


def test_reflector_does_not_hammer_a_server_that_ends_each_watch_at_once(watched: Watched) -> None:
    reflector = watched.follow()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        watched.api.hang_up()
        time.sleep(0.001)
    assert watched.asked() <= 10
    assert reflector.trouble == ""


@pytest.mark.parametrize(
    "breakage",
    [
        urllib3.exceptions.ProtocolError("Connection broken"),
        urllib3.exceptions.ReadTimeoutError(None, "/", "timed out"),
    ],
)
def test_reflector_lists_again_after_a_broken_connection(
    watched: Watched, breakage: Exception
) -> None:
    watched.put("a", "red")
    watched.put("b", "red")
    reflector = watched.follow()
    eventually(lambda: watched.asked() == 2)
    watched.changes.clear()
    down, troubles = [503], list[str]()

    def fault(_method: str, _path: str) -> int:
        troubles.append(reflector.trouble)
        return down[0] if down else 0

    watched.api.fault = fault
    watched.api.hang_up(breakage)
    eventually(lambda: troubles)  # when it asks again
    assert mentions(troubles[0], NODES)
    watched.drop("a")  # unseen, while there is no connection
    watched.put("b", "blue")
    watched.put("c", "red")
    down.clear()
    eventually(lambda: len(watched.changes) == 3)
    assert set(watched.changes) == {("a=red", None), ("b=red", "b=blue"), (None, "c=red")}
    eventually(lambda: not reflector.trouble)


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        (b"null\n", "'null'"),
        (b"[]\n", "'[]'"),
        (b"\n", "''"),
        (b'{"type": "ADDED"}\n', '\'{"type": "ADDED"}\''),
        (b'{"type": "ERROR", "object": "gone"}\n', '"gone"'),
        (b'{"type": "ERROR", "object": {"code": "x"}}\n', "invalid literal"),
        (b'{"type": "MOD\n', '{"type": "MOD'),
        (b"\xff\n", "'"),
        (b'{"type": "MOD', ""),  # cut off where the server ended it: the next watch has all of it
    ],
)
def test_reflector_goes_on_after_a_line_that_is_no_event(
    watched: Watched, chunk: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = [chunk]
    whole = FakeStream.stream
    monkeypatch.setattr(
        FakeStream, "stream", lambda here: iter([chunks.pop()]) if chunks else whole(here)
    )
    watched.put("a", "red")
    reflector = watched.reflector()
    watched.put("a", "blue")
    troubles: list[str] = []

    def note(_method: str, _path: str) -> int:
        troubles.append(reflector.trouble)
        return 0

    watched.api.fault = note
    reflector.start()
    watched.told((None, "a=red"), ("a=red", "a=blue"))
    assert said in "".join(troubles)
    assert bool(said) is any(troubles)
    eventually(lambda: not reflector.trouble)


def test_reflector_that_lists_again_tells_of_removals_first(watched: Watched) -> None:
    """A node that was made again meanwhile has the same name."""
    for number in range(20):
        watched.put(f"n{number}", "red", f"old{number}")
    reflector = watched.reflector()
    for number in range(20):
        watched.put(f"n{number}", "red", f"new{number}")
    watched.changes.clear()
    reflector._list()
    assert len(watched.changes) == 40
    assert all(after is None for _before, after in watched.changes[:20])
    assert all(before is None for before, _after in watched.changes[20:])


@pytest.mark.parametrize("in_stream", [True, False])
def test_reflector_lists_again_when_the_server_forgot_the_moment(
    watched: Watched, in_stream: bool
) -> None:
    watched.put("a", "red")
    reflector = watched.reflector()
    watched.changes.clear()
    watched.drop("a")
    watched.put("b", "red")
    statuses = [] if in_stream else [410]

    def fault(method: str, _path: str) -> int:
        return statuses.pop() if statuses and method == "WATCH" else 0

    watched.api.fault = fault
    watched.api.oldest = watched.api.version if in_stream else 0
    reflector.start()
    eventually(lambda: len(watched.changes) == 2)
    assert watched.changes == [("a=red", None), (None, "b=red")]
    watched.changes.clear()
    watched.put("b", "blue")
    watched.told(("b=red", "b=blue"))
    assert reflector.trouble == ""


@pytest.mark.parametrize("status", [401, 403])
def test_reflector_that_may_not_watch_says_so_and_gives_up(watched: Watched, status: int) -> None:
    reflector = watched.reflector()
    watched.api.fault = lambda method, _path: status if method == "WATCH" else 0
    reflector.start()
    eventually(lambda: reflector.trouble)
    asked = watched.asked()
    time.sleep(0.3)
    assert watched.asked() == asked
    assert str(status) in reflector.trouble or "permission" in reflector.trouble


def test_reflector_takes_note_of_bookmarks(watched: Watched) -> None:
    reflector = watched.reflector()
    bookmark: Json = {"metadata": {"resourceVersion": "77"}}
    reflector._note({"type": "BOOKMARK", "object": bookmark})
    assert reflector._since == "77"
    assert watched.changes == []


def test_reflector_that_is_stopped_says_nothing_more(watched: Watched) -> None:
    reflector = watched.follow()
    eventually(lambda: watched.asked() == 2)
    reflector.stop()
    watched.put("a", "red")  # the one event that wakes the thread
    watched.told((None, "a=red"))
    watched.put("b", "red")
    time.sleep(0.1)
    assert watched.changes == []
