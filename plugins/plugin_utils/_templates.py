# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: inventory variables that are templates.

What an undefined or omitted variable gives differs between versions of ansible-core. Here, both
give Unresolved on each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from ansible.errors import AnsibleError
from ansible.inventory.helpers import sort_groups
from ansible.template import Templar
from ansible.vars.plugins import get_vars_from_inventory_sources, get_vars_from_path
from jinja2 import Environment, TemplateSyntaxError, meta

from ..module_utils._common.errors import FleetError
from ..module_utils._fleet.inventory import PROFILE_VARIABLE, GroupProfile, Unresolved

if TYPE_CHECKING:
    from ansible.inventory.group import Group
    from ansible.inventory.host import Host
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.vars.hostvars import HostVars

_OMITTED = "it is omitted, and omit is for options of tasks"
_ANYTHING = frozenset({"hostvars", "lookup", "q", "query", "vars"})  # these read other variables


def is_template(value: object) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def raw_variables(of_host: Mapping[str, object]) -> Mapping[str, object]:
    """The variables of an entry of hostvars, as they are written."""
    return getattr(of_host, "_vars", of_host)


def resolved(of_host: Mapping[str, object], name: str) -> object:
    """The value of a variable in an entry of hostvars, or Unresolved."""
    raw = raw_variables(of_host)
    try:
        value = of_host[name]
        if is_template(value):  # ansible-core 2.18 leaves undefined variables as they are
            value = Templar(loader=None, variables=dict(raw)).template(value)
    except AnsibleError as error:
        omitted = type(error).__name__ == "AnsibleValueOmittedError"  # new in ansible-core 2.19
        return Unresolved(_OMITTED if omitted else str(error).partition("\n")[0].rstrip("."))
    if isinstance(value, str) and value == raw.get("omit"):
        return Unresolved(_OMITTED)
    return value


def group_profile(group: Group, profile: object) -> GroupProfile:
    ancestors = frozenset(ancestor.name for ancestor in group.get_ancestors())
    return GroupProfile(group.name, profile, ancestors, group.priority)


class OwnVariables:
    """The variables that groups and hosts themselves set, in the inventory and in files of
    group_vars or host_vars.
    """

    def __init__(self, manager: InventoryManager, loader: DataLoader) -> None:
        self._sources = manager._sources
        self._loader = loader
        self._known: dict[Group | Host, dict[str, object]] = {}

    def of(self, entity: Group | Host) -> dict[str, object]:
        if entity not in self._known:
            self._known[entity] = self._read(entity)
        return self._known[entity]

    def _read(self, entity: Group | Host) -> dict[str, object]:
        found: dict[str, object] = dict(entity.vars)
        found |= get_vars_from_inventory_sources(self._loader, self._sources, [entity], "all")
        found |= get_vars_from_path(self._loader, self._loader.get_basedir(), [entity], "all")
        return found


def own_profile(host: Host, own: OwnVariables, hostvars: HostVars) -> str | None:
    """The profile of a host in the inventory, whatever extra variables say. Raises FleetError if
    it has no value.
    """
    context = dict(hostvars.raw_get(host.name))
    raw = None
    for entity in (*sort_groups(host.get_groups()), host):
        raw = own.of(entity).get(PROFILE_VARIABLE, raw)
    try:
        value = Templar(loader=hostvars._loader, variables=context).template(raw)
    except AnsibleError as error:
        raise FleetError(f"{PROFILE_VARIABLE} of {host.name} has no value: {error}") from None
    return str(value) if value else None


class TemplatedProfiles:
    """What hosts whose profile is a template would get from each of their groups.

    A group counts where it sets the profile, or a variable that the template reads.
    """

    def __init__(self, own: OwnVariables, loader: DataLoader, hostvars: HostVars) -> None:
        self._own = own
        self._loader = loader
        self._hostvars = hostvars
        self._known: dict[tuple[tuple[str, str], ...], object] = {}

    def of(self, host: Host) -> list[GroupProfile]:
        groups = {group: self._own.of(group) for group in host.get_groups()}
        of_host = self._own.of(host)
        names = _names([of_host, *groups.values()])
        return [
            group_profile(group, self._value(host, group, of_host, names))
            for group, own in groups.items()
            if not names.isdisjoint(own)
        ]

    def _value(
        self, host: Host, group: Group, of_host: Mapping[str, object], names: set[str]
    ) -> object:
        """The profile if the variables of this group and its parents override those of others."""
        context = dict(self._hostvars.raw_get(host.name))
        for parent in sorted(group.get_ancestors(), key=lambda each: (each.depth, each.priority)):
            context |= self._own.of(parent)
        context |= self._own.of(group)
        context |= of_host
        context |= self._hostvars._variable_manager.extra_vars
        key = tuple((name, repr(context.get(name))) for name in sorted(names))
        if not names.isdisjoint(_ANYTHING):
            key = (("", group.name), ("", host.name))
        if key not in self._known:
            self._known[key] = self._resolve(context)
        return self._known[key]

    def _resolve(self, context: Mapping[str, object]) -> object:
        raw = context.get(PROFILE_VARIABLE)
        try:
            return Templar(loader=self._loader, variables=dict(context)).template(raw)
        except AnsibleError:
            return raw


def _names(sources: Iterable[Mapping[str, object]]) -> set[str]:
    """The profile's variable, and all that it reads in any of these sources."""
    found: set[str] = set()
    new = {PROFILE_VARIABLE}
    while new:
        found |= new
        values = [source[name] for source in sources for name in new if name in source]
        new = {name for value in values for name in _read_by(str(value))} - found
    return found


@cache
def _read_by(text: str) -> frozenset[str]:
    """The variables that a text reads, if it is a template."""
    if not is_template(text):
        return frozenset()
    try:
        return frozenset(meta.find_undeclared_variables(Environment().parse(text)))
    except TemplateSyntaxError:
        return frozenset()
