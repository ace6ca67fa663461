# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the tree of exceptions, each with a message that says what to do."""

from __future__ import annotations

from collections.abc import Sequence

from .secrets import without_userinfo

MAX_LINES = 50


class SharingError(Exception):
    """A failure to report: the message says what happened, where, and what to do next.

    problems lists the single problems where there are several; the message shows 20
    of them at least. URLs in messages have no user and password.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(without_userinfo(message))
        self.problems = tuple(map(without_userinfo, problems))


class ProfileError(SharingError):
    """A profile that NVIDIA's device plugin would reject or partly ignore."""


class FleetError(SharingError):
    """An invalid inventory, or a selection of hosts that does not match it."""


class ConnectionSettingsError(SharingError):
    """Credentials that are missing, contradict each other, or cannot be passed to Helm."""


class ClusterError(SharingError):
    """The API server cannot be reached, or answers with a failure.

    detail is the server's own message, empty where there is none; retry_after is when it wants the
    next request, in seconds; next_page is where a list that it has dropped (410) can continue.
    """

    def __init__(
        self,
        message: str,
        status: int = 0,
        detail: str = "",
        retry_after: float = 0.0,
        problems: Sequence[str] = (),
        next_page: str = "",
    ) -> None:
        super().__init__(message, problems)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.next_page = next_page


class NotAllowedError(SharingError):
    """The identity lacks permissions that the run needs; problems lists each missing one."""


class LeaseError(SharingError):
    """Another run holds the Lease, or has taken it over from this one."""


class HistoryError(SharingError):
    """A revision that does not exist or cannot be read."""


class RefusedError(SharingError):
    """A change that is refused, because it would disrupt work or is not safe."""


def joined(error: type[SharingError], problems: Sequence[str]) -> SharingError:
    """One error for one or more problems, a line each when there are several."""
    single = len(problems) == 1
    text = problems[0] if single else f"{len(problems)} problems:\n{bullets(problems)}"
    return error(text, problems=problems)


def bullets(problems: Sequence[str]) -> str:
    """A line for each problem, of many for the first ones."""
    lines = [f"- {problem}" for problem in problems[:MAX_LINES]]
    if len(problems) > MAX_LINES:
        lines.append(f"- and {len(problems) - MAX_LINES} more")
    return "\n".join(lines)
