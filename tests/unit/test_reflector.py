# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirrors: lists that are kept up to date by watches, whatever becomes of the connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import urllib3

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import text_at
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
class Scene:
    """A mirror of nodes: each as uid=colour, by its label."""

    api: FakeApi = field(default_factory=FakeApi)
    changes: list[Change] = field(default_factory=list)
    mirrors: list[Reflector[str]] = field(default_factory=list)

    def put(self, name: str, colour: str, uid: str = "") -> None:
        metadata = {"uid": uid or name, "labels": {"colour": colour}}
        self.api.put(f"{NODES}/{name}", {"metadata": metadata})

    def drop(self, name: str) -> None:
        self.api.drop(f"{NODES}/{name}")

    def mirror(self, labels: str = "") -> Reflector[str]:
        found = Reflector(self.api.cluster, NODES, read, self.note, labels=labels)
        self.mirrors.append(found)
        return found

    def note(self, before: str | None, after: str | None) -> None:
        self.changes.append((before, after))

    def follow(self, labels: str = "") -> Reflector[str]:
        found = self.mirror(labels)
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
def scene() -> Iterator[Scene]:
    found = Scene()
    yield found
    for mirror in found.mirrors:
        mirror.stop()
    found.api.hang_up()


def test_mirror_lists_at_once(scene: Scene) -> None:
    scene.put("a", "red")
    scene.put("b", "red")
    mirror = scene.mirror()
    scene.put("c", "red")  # it is not followed yet
    assert sorted(scene.changes, key=str) == [(None, "a=red"), (None, "b=red")]
    assert mirror.trouble == ""


def test_mirror_follows_without_listing_again(scene: Scene) -> None:
    scene.put("a", "red")
    mirror = scene.mirror()
    scene.put("b", "red")  # between the list and the watch
    mirror.start()
    scene.told((None, "a=red"), (None, "b=red"))
    scene.put("a", "blue")
    scene.told(("a=red", "a=blue"))
    scene.put("a", "blue")  # something that is not read has changed
    scene.drop("b")
    scene.told(("b=red", None))
    assert scene.asked() == 2
    assert mirror.trouble == ""


def test_mirror_of_a_node_made_again_tells_of_the_removal_first(scene: Scene) -> None:
    scene.put("a", "red", "u1")
    scene.follow()
    scene.drop("a")
    scene.put("a", "red", "u2")
    scene.told((None, "u1=red"), ("u1=red", None), (None, "u2=red"))


@pytest.mark.parametrize("labels", ["kind=gpu", "kind in (gpu,mig)", "kind"])
def test_mirror_of_some(scene: Scene, labels: str) -> None:
    for name, kind in (("a", "gpu"), ("b", "cpu")):
        metadata = {"uid": name, "labels": {"colour": "red", "kind": kind}}
        if labels == "kind" and kind == "cpu":
            del metadata["labels"]["kind"]  # type: ignore[attr-defined]
        scene.api.put(f"{NODES}/{name}", {"metadata": metadata})
    scene.follow(labels)
    scene.told((None, "a=red"))


def test_mirror_goes_on_after_the_server_ends_a_watch(scene: Scene) -> None:
    scene.put("a", "red")
    mirror = scene.follow()
    eventually(lambda: scene.asked() == 2)
    scene.api.hang_up()
    eventually(lambda: scene.asked() == 3)
    scene.put("a", "blue")
    scene.told((None, "a=red"), ("a=red", "a=blue"))
    assert mirror.trouble == ""
    assert scene.asked() == 3


def test_mirror_does_not_hammer_a_server_that_ends_each_watch_at_once(scene: Scene) -> None:
    mirror = scene.follow()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        scene.api.hang_up()
        time.sleep(0.001)
    assert scene.asked() <= 10
    assert mirror.trouble == ""


@pytest.mark.parametrize(
    "breakage",
    [
        urllib3.exceptions.ProtocolError("Connection broken"),
        urllib3.exceptions.ReadTimeoutError(None, "/", "timed out"),
    ],
)
def test_mirror_lists_again_after_a_broken_connection(scene: Scene, breakage: Exception) -> None:
    scene.put("a", "red")
    scene.put("b", "red")
    mirror = scene.follow()
    eventually(lambda: scene.asked() == 2)
    scene.changes.clear()
    down, troubles = [503], list[str]()

    def fault(_method: str, _path: str) -> int:
        troubles.append(mirror.trouble)
        return down[0] if down else 0

    scene.api.fault = fault
    scene.api.hang_up(breakage)
    eventually(lambda: troubles)  # when it asks again
    assert mentions(troubles[0], NODES)
    scene.drop("a")  # unseen, while there is no connection
    scene.put("b", "blue")
    scene.put("c", "red")
    down.clear()
    eventually(lambda: len(scene.changes) == 3)
    assert set(scene.changes) == {("a=red", None), ("b=red", "b=blue"), (None, "c=red")}
    eventually(lambda: not mirror.trouble)


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
def test_mirror_goes_on_after_a_line_that_is_no_event(
    scene: Scene, chunk: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = [chunk]
    whole = FakeStream.stream
    monkeypatch.setattr(
        FakeStream, "stream", lambda here: iter([chunks.pop()]) if chunks else whole(here)
    )
    scene.put("a", "red")
    mirror = scene.mirror()
    scene.put("a", "blue")
    troubles: list[str] = []

    def note(_method: str, _path: str) -> int:
        troubles.append(mirror.trouble)
        return 0

    scene.api.fault = note
    mirror.start()
    scene.told((None, "a=red"), ("a=red", "a=blue"))
    assert said in "".join(troubles)
    assert bool(said) is any(troubles)
    eventually(lambda: not mirror.trouble)


def test_mirror_that_lists_again_tells_of_removals_first(scene: Scene) -> None:
    """A node that was made again meanwhile has the same name."""
    for number in range(20):
        scene.put(f"n{number}", "red", f"old{number}")
    mirror = scene.mirror()
    for number in range(20):
        scene.put(f"n{number}", "red", f"new{number}")
    scene.changes.clear()
    mirror._list()
    assert len(scene.changes) == 40
    assert all(after is None for _before, after in scene.changes[:20])
    assert all(before is None for before, _after in scene.changes[20:])


@pytest.mark.parametrize("in_stream", [True, False])
def test_mirror_lists_again_when_the_server_forgot_the_moment(
    scene: Scene, in_stream: bool
) -> None:
    scene.put("a", "red")
    mirror = scene.mirror()
    scene.changes.clear()
    scene.drop("a")
    scene.put("b", "red")
    statuses = [] if in_stream else [410]

    def fault(method: str, _path: str) -> int:
        return statuses.pop() if statuses and method == "WATCH" else 0

    scene.api.fault = fault
    scene.api.oldest = scene.api.version if in_stream else 0
    mirror.start()
    eventually(lambda: len(scene.changes) == 2)
    assert scene.changes == [("a=red", None), (None, "b=red")]
    scene.changes.clear()
    scene.put("b", "blue")
    scene.told(("b=red", "b=blue"))
    assert mirror.trouble == ""


@pytest.mark.parametrize("status", [401, 403])
def test_mirror_that_may_not_watch_says_so_and_gives_up(scene: Scene, status: int) -> None:
    mirror = scene.mirror()
    scene.api.fault = lambda method, _path: status if method == "WATCH" else 0
    mirror.start()
    eventually(lambda: mirror.trouble)
    asked = scene.asked()
    time.sleep(0.3)
    assert scene.asked() == asked
    assert str(status) in mirror.trouble or "permission" in mirror.trouble


def test_mirror_takes_note_of_bookmarks(scene: Scene) -> None:
    mirror = scene.mirror()
    bookmark: Json = {"metadata": {"resourceVersion": "77"}}
    mirror._note({"type": "BOOKMARK", "object": bookmark})
    assert mirror._since == "77"
    assert scene.changes == []


def test_mirror_that_is_stopped_says_nothing_more(scene: Scene) -> None:
    mirror = scene.follow()
    eventually(lambda: scene.asked() == 2)
    mirror.stop()
    scene.put("a", "red")  # the one event that wakes the thread
    scene.told((None, "a=red"))
    scene.put("b", "red")
    time.sleep(0.1)
    assert scene.changes == []
