# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: refuses an ansible-core or a Python that is too old.

Every plugin asks before it imports anything else of the collection, which needs the newer Python.
So this file and the start of each plugin must be readable for old ones.
"""

from __future__ import annotations

import re
import sys

from ansible.module_utils.ansible_release import __version__ as ansible_core

CORE, PYTHON = (2, 18), (3, 11)


class VersionError(ImportError):
    """The collection cannot run here."""


def check_versions(
    core: str = ansible_core, python: tuple[int, ...] = sys.version_info[:3]
) -> None:
    """Raise VersionError with the versions needed and found, if one of them is too old."""
    found = tuple(int(number) for number in re.findall("[0-9]+", core)[:2])
    if found >= CORE and tuple(python[:2]) >= PYTHON:
        return
    needed = f"ansible-core {_text(CORE)} or newer and Python {_text(PYTHON)} or newer"
    raise VersionError(
        f"gpufleet.sharing needs {needed}; found ansible-core {core} with Python"
        f" {_text(python[:3])} ({sys.executable}). In AWX, give the job template an execution"
        " environment that has them."
    )


def _text(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)
