# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that checks versions, in a file that old ones of ansible-core and Python can load."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError

from ..module_utils._common.versions import VersionError, check_versions


def supported(file: str) -> str:
    """The path of a file, as it is. Raises AnsibleFilterError if a version is too old."""
    try:
        check_versions()
    except VersionError as error:
        raise AnsibleFilterError(str(error)) from None
    return file


class FilterModule:
    """The filter of the playbooks."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        return {"supported": supported}
