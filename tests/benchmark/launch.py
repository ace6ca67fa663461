# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command and tell what it took: `launch.py RESULT COMMAND ...`.

A process of its own, and a small one, since Linux counts the memory of whoever forks as memory of
the child until the child is another program. RESULT gets JSON: seconds, seconds of processor time,
bytes of memory (of the largest of its processes), exit status.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(result: str, command: list[str]) -> int:
    started = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _pid, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - started
    code = os.waitstatus_to_exitcode(status)
    with open(result, "w", encoding="utf-8") as file:  # noqa: PTH123  (pathlib would double us)
        processor = usage.ru_utime + usage.ru_stime  # of its descendants too
        taken = {"seconds": seconds, "processor": processor, "memory": usage.ru_maxrss * 1024}
        json.dump({**taken, "status": code}, file)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
