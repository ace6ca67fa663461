# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: options that are a file's path or its content, and the private files of a run."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ...module_utils._common.documents import dig, list_at
from ...module_utils._common.errors import ConnectionSettingsError
from ...module_utils._common.secrets import is_content
from .kubeconfig import is_file, looks_like_path

_CERTIFICATE = "CERTIFICATE"
FILE_OPTIONS = {
    "ca_cert": _CERTIFICATE,
    "client_cert": _CERTIFICATE,
    "client_key": "PRIVATE KEY",
}  # and what its PEM block is called
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_PREFIX = "gpufleet-sharing-"
_FOLDER = re.compile(rf"{_PREFIX}(?P<host>.+)-(?P<process>\d+)-[^-]+")
_DATA_FIELDS = ("certificate-authority", "client-certificate", "client-key")


def file_data(text: str, option: str, name: str) -> str:
    """The content of a file as a kubeconfig has it (base64); empty where the text is a path. name
    is the option's in messages, which do not contain the text.
    """
    kind = FILE_OPTIONS[option]
    if is_content(text):
        blocks = _BLOCK.findall(text.replace("\\n", "\n"))
        if not any(kind in block for block, _body in blocks):
            raise ConnectionSettingsError(
                f"{name} is a text without a {kind} in PEM (-----BEGIN ... {kind}-----). Allowed:"
                " PEM, or the path of a file."
            )
        pem = "".join(_as_pem(block, body) for block, body in blocks)
        return base64.b64encode(pem.encode()).decode()
    path = text.strip()
    if not looks_like_path(path) and not is_file(Path(path).expanduser()):
        raise ConnectionSettingsError(
            f"{name} is neither the path of a file that exists nor PEM. The value is not shown,"
            " because it does not look like a path."
        )
    return ""


def _as_pem(block: str, body: str) -> str:
    """A block of PEM, also where a field of one line has made spaces of its line breaks."""
    lines = body.strip().splitlines() if "\n" in body.strip() else body.split()
    kept = "\n".join(line.strip() for line in lines)
    return f"-----BEGIN {block}-----\n{kept}\n-----END {block}-----\n"


def private_folder(base: Path, process: int) -> Path:
    """A new folder that only we can read. base is Ansible's folder for temporary files, which it
    removes when it ends. process is that of Ansible.
    """
    prefix = f"{_PREFIX}{socket.gethostname()}-{process}-"
    return Path(tempfile.mkdtemp(prefix=prefix, dir=base))


@contextmanager
def private_temporary_files(base: Path) -> Iterator[None]:
    """Have this process, and modules that it starts, write temporary files into a private folder
    that is removed at the end: the Python client and the Helm modules write credentials and values,
    and leave them where they are killed, or in a worker of Ansible, which does not clean up.
    """
    folder = private_folder(base, os.getppid())
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        os.environ.pop("TMPDIR")
        if before[0] is not None:
            os.environ["TMPDIR"] = before[0]
        tempfile.tempdir = before[1]
        shutil.rmtree(folder, ignore_errors=True)


def remove_remains(base: Path) -> None:
    """Remove private folders of runs that were killed on this machine, so that Ansible could not.
    They lie beside base, in folders of other runs.
    """
    for folder in base.parent.glob(f"*/{_PREFIX}*"):
        found = _FOLDER.fullmatch(folder.name)
        if found and found["host"] == socket.gethostname() and not _runs(int(found["process"])):
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                folder.parent.rmdir()  # if it is empty


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_kubeconfig(content: Mapping[str, object], folder: Path) -> Path:
    """Write a kubeconfig of one context, and the data in it as files: the Python client would write
    these elsewhere, where a killed run leaves them. Returns its path.
    """
    cluster, user = (_entry(content, kind) for kind in ("cluster", "user"))
    named = str(content["current-context"])
    written = dict(content) | {
        "clusters": [{"name": named, "cluster": _with_files(cluster, folder)}],
        "users": [{"name": named, "user": _with_files(user, folder)}],
    }
    path = folder / "kubeconfig"
    # Not as YAML, which refuses the tagged texts of a kubeconfig that is a variable
    _write(path, json.dumps(written, default=str).encode())
    return path


def _entry(content: Mapping[str, object], kind: str) -> dict[str, object]:
    entry = dig(next(iter(list_at(content, f"{kind}s")), None), kind)
    return dict(entry) if isinstance(entry, Mapping) else {}


def _with_files(entry: dict[str, object], folder: Path) -> dict[str, object]:
    moved = dict(entry)
    for name in _DATA_FIELDS:
        if data := moved.pop(f"{name}-data", None):
            try:
                content = base64.b64decode(str(data))
            except ValueError:
                raise ConnectionSettingsError(
                    f"{name}-data of the kubeconfig is not base64."
                ) from None
            _write(folder / name, content)
            moved[name] = str(folder / name)
    return moved


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
