# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring up a real one-node Kubernetes, with a GPU or a stand-in for one. See README.md."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_NEEDED = ("yaml", "cryptography")
_WITHOUT_PACKAGES = ("unpack",)


def main() -> int:
    sys.path[:0] = [str(_HERE), str(_HERE.parent / "lab")]
    if sys.argv[1:2] and sys.argv[1] in _WITHOUT_PACKAGES:
        from gpunode.pieces import command

        return command(sys.argv[1:])
    _change_python()
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"realnode: {sys.executable} lacks {' and '.join(missing)}; make venv, or on a machine "
            "without network: realnode unpack",
            file=sys.stderr,
        )
        return 2
    from gpunode.cli import run

    return run(sys.argv[1:])


def _change_python() -> None:
    """Go on with the Python that has the packages."""
    from gpunode.paths import venvs

    for venv in venvs():
        python = venv / "bin" / "python"
        if python.exists():
            if Path(sys.prefix).resolve() != venv.resolve():
                os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])
            return


if __name__ == "__main__":
    raise SystemExit(main())
