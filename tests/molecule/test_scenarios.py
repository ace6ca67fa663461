# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The molecule scenarios of extensions/molecule, one test each.

pytest-ansible's fixture finds them with `git ls-files`, so a new scenario must be known to git.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_ansible.molecule import MoleculeScenario


def test_scenario(molecule_scenario: MoleculeScenario) -> None:
    assert molecule_scenario.test().returncode == 0
