# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command and collect every process below it that ends: `reaper.py COMMAND ...`.

Programs of a lab outlive the command that boots it. Collected here they count towards the processor
time of the step, which run_checks.py reads when this process ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    """Return the exit status of the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # The command gets Ctrl-C as well, and decides. It must not inherit that it is ignored.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    child = subprocess.Popen(command)
    ended, status = os.wait()
    while ended != child.pid:
        ended, status = os.wait()
    collect_the_rest()
    return os.waitstatus_to_exitcode(status) % 256


def collect_the_rest() -> None:
    """Collect what has ended by now; what has not is left running."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
