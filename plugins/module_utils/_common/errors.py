# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the one tree of errors, each with a message a person can act on."""

from __future__ import annotations

from collections.abc import Sequence

MOST_LINES = 50


class SharingError(Exception):
    """Something the user has to know: the message says what, where and what to do next.

    problems lists the single findings when there is more than one; the message holds all of them.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class ProfileError(SharingError):
    """A profile that NVIDIA's device plugin would refuse or silently ignore."""


class FleetError(SharingError):
    """An inventory, or a selection of hosts, that cannot be what was meant."""


class ConnectionSettingsError(SharingError):
    """Credentials that are missing, contradict each other, or cannot be carried to Helm."""


class ClusterError(SharingError):
    """The API server cannot be reached, or said no.

    said are its own words without ours, empty where there are none; retry_after is when it wants to
    be asked again, in seconds; rest is where a list that it has forgotten (410) can go on.
    """

    def __init__(
        self,
        message: str,
        status: int = 0,
        said: str = "",
        retry_after: float = 0.0,
        problems: Sequence[str] = (),
        rest: str = "",
    ) -> None:
        super().__init__(message, problems)
        self.status = status
        self.said = said
        self.retry_after = retry_after
        self.rest = rest


class NotAllowedError(SharingError):
    """The identity may not do what the run needs; problems holds each missing permission."""


class LeaseError(SharingError):
    """Another run is at work, or has taken over from this one."""


class HistoryError(SharingError):
    """A revision that is not there, or that cannot be read."""


class RefusedError(SharingError):
    """A change that is not made because it would hurt somebody who was not asked."""


def joined(error: type[SharingError], problems: Sequence[str]) -> SharingError:
    """One error of the given type for one or more problems, a line each when there are several."""
    lines = "\n".join(f"- {problem}" for problem in problems[:MOST_LINES])
    if len(problems) > MOST_LINES:
        lines += f"\n- and {len(problems) - MOST_LINES} more"
    single = len(problems) == 1
    made = error(problems[0] if single else f"{len(problems)} problems:\n{lines}")
    made.problems = tuple(problems)
    return made
