# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: signals that end a run, so that it can clean up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .errors import SharingError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InterruptedRunError(SharingError):
    """A signal has ended the run."""


@contextmanager
def interruptible() -> Iterator[None]:
    """A context in which a signal raises InterruptedRunError. Afterwards signals are ignored until
    the module ends, so use it once and clean up after it.
    """

    def interrupt(number: int, _frame: FrameType | None) -> None:
        _set(signal.SIG_IGN)
        name = signal.Signals(number).name
        raise InterruptedRunError(
            f"The run was ended ({name}). It has removed what it created. Run again to finish."
        )

    for one in _SIGNALS:
        signal.signal(one, interrupt)
    try:
        yield
    finally:
        _set(signal.SIG_IGN)


def _set(handler: signal.Handlers) -> None:
    for one in _SIGNALS:
        signal.signal(one, handler)
