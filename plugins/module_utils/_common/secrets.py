# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: keeps secrets out of messages and results."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping

from .documents import dig, list_at, text_at

HIDDEN = "(hidden)"
_SECRET_OPTIONS = (
    *("kubeconfig", "host", "api_key", "username", "password", "proxy", "proxy_headers"),
    *("ca_cert", "client_cert", "client_key", "values"),
)
_SHORT, _PLAIN = 4, 8  # characters of a secret: shorter ones are words, longer ones parts of others
_USERINFO = re.compile(r"(?<=://)[^\s/'\"]*@|(?<=://)[^\s/'\":@]*:[^\s'\"]*@")
_IN_URL = re.compile(r"://([^\s'\"]*)@")


def without_userinfo(text: str) -> str:
    """A text whose URLs have no user and password."""
    return _USERINFO.sub(f"{HIDDEN}@", text) if "://" in text else text


def is_content(value: str) -> bool:
    """Whether the value of an option is the content of a file and not its path, as fields of AWX,
    surveys and vaulted variables give it.
    """
    text = value.strip()
    return text.startswith("{") or "\n" in text or "-----BEGIN" in text


class Secrets:
    """Texts that must not be shown, each with what is shown instead."""

    def __init__(self, known: Mapping[str, str]) -> None:
        forms = {form: shown for text, shown in known.items() for form in _forms(text)}
        self._forms = {form: forms[form] for form in sorted(forms, key=len, reverse=True)}

    def hide(self, text: str) -> str:
        for form, shown in self._forms.items():
            if form in text:
                whole = rf"(?<!\w){re.escape(form)}(?!\w)"
                pattern = whole if len(form) < _PLAIN else re.escape(form)
                text = re.sub(pattern, lambda _found, shown=shown: shown, text)  # type: ignore[misc]
        return without_userinfo(text)

    def hide_in(self, value: object) -> object:
        """Hide them in all texts of a result."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {name: self.hide_in(entry) for name, entry in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide_in(entry) for entry in value]
        return value


def _forms(text: str) -> Iterator[str]:
    """The ways in which other programs print a secret: line by line, quoted, or as base64; of a URL
    with a password also the password.
    """
    lines = [line.strip() for line in text.splitlines()]
    shown = [text, " ".join(text.split()), *(lines if len(lines) > 1 else ())]
    for found in _IN_URL.findall(text):
        shown += [found, found.partition(":")[2]]
    for form in dict.fromkeys(shown):
        if len(form) >= _SHORT:
            yield from (form, json.dumps(form)[1:-1], json.dumps(form, ensure_ascii=False)[1:-1])
        if len(form) >= _PLAIN:
            yield base64.b64encode(form.encode()).decode()


def values_by_key(values: object, key: str = "") -> Iterator[tuple[str, object]]:
    """The values in nested mappings and lists, each with its path such as driver.env[0].value."""
    if isinstance(values, Mapping) and values:
        for name, value in values.items():
            yield from values_by_key(value, f"{key}.{name}".lstrip("."))
    elif isinstance(values, list | tuple) and values:
        for at, value in enumerate(values):
            yield from values_by_key(value, f"{key}[{at}]")
    else:
        yield key, values


def secrets_of_values(*sources: Mapping[str, object]) -> dict[str, str]:
    """Values of a Helm release, each with its key, which is shown instead: any may be secret. Words
    and numbers that many texts contain, such as true, are none.
    """
    return {
        str(value): f"<{key}>"
        for values in sources
        for key, value in values_by_key(values)
        if isinstance(value, str | int | float)
        and not isinstance(value, bool)
        and len(str(value)) >= _SHORT
    }


def secrets_of_options(options: Mapping[str, object]) -> dict[str, str]:
    """The secrets in connection options: tokens, passwords, and the content of files."""
    found = [str(options.get(name) or "") for name in ("api_key", "password")]
    for name in ("client_key", "client_cert", "ca_cert", "kubeconfig"):
        value = options.get(name)
        if isinstance(value, str) and is_content(value):
            found.append(value)
    proxy = str(options.get("proxy") or "")
    found += [proxy] if "@" in proxy else []
    found += secrets_of_kubeconfig(options.get("kubeconfig"))
    return dict.fromkeys(filter(None, found), HIDDEN)


def secrets_of_kubeconfig(document: object) -> list[str]:
    """The secrets of the users in a kubeconfig, including what its exec plugins get."""
    found: list[str] = []
    for entry in list_at(document, "users"):
        user = dig(entry, "user")
        found += [text_at(user, name) for name in ("token", "password", "client-key-data")]
        found += [text_at(pair, "value") for pair in list_at(user, "exec", "env")]
        found += [str(value) for _key, value in values_by_key(dig(user, "auth-provider", "config"))]
        arguments = map(str, list_at(user, "exec", "args"))
        found += [part for text in arguments for part in text.partition("=")[2:]]
    return [text for text in found if text and text != "None"]


def hidden(options: Mapping[str, object]) -> dict[str, object]:
    """Options without connection settings and values of charts, also in nested mappings, and
    without the user and password of URLs.
    """
    return {
        name: HIDDEN if name in _SECRET_OPTIONS and value else _hidden_in(value)
        for name, value in options.items()
    }


def _hidden_in(value: object) -> object:
    if isinstance(value, Mapping):
        return hidden(value)
    return without_userinfo(value) if isinstance(value, str) else value
