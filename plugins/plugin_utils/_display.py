# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what actions display while they run.

Only the main thread of a fork may display: ansible-core 2.18 forks while it holds the lock of
stdout, which is then that thread's forever, and the callback of ansible-runner before 2.4.2
writes to stdout in forks.
"""

from __future__ import annotations

import io
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from multiprocessing import parent_process
from typing import Literal

from ansible.utils.display import Display


def show(text: str, how: Literal["display", "warning", "v"] = "display") -> None:
    """Display a text. A fork passes it on to the main process, which marks it as an event of
    ansible-runner; marks that old callbacks write in the fork as well are dropped.
    """
    with ExitStack() as stack:
        if parent_process():
            stack.enter_context(redirect_stdout(io.StringIO()))
            stack.enter_context(redirect_stderr(io.StringIO()))
        getattr(Display(), how)(text)
