# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How every command line of the laboratory ends."""

from __future__ import annotations

import argparse
import sys

from .errors import LabError


def run(
    options: argparse.Namespace, name: str, wrong: tuple[type[Exception], ...] = (LabError,)
) -> int:
    """Do what options.command does, and return its exit status; 1, with one line, where it goes
    wrong in one of these ways.
    """
    try:
        code: int = options.command(options)
        return code
    except wrong as err:
        print(f"{name}: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
