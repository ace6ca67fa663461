# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boot a laboratory cluster with a real control plane and simulated GPU nodes. See README.md."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_VENV = _HERE.parents[1] / ".venv"
_NEEDED = ("yaml", "cryptography")


def main() -> int:
    python = _VENV / "bin" / "python"
    if python.exists() and Path(sys.prefix).resolve() != _VENV.resolve():
        os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"lab: {sys.executable} lacks {' and '.join(missing)}; both come with ansible-core: "
            "pip install ansible-core, or make a virtual environment in .venv of the repository",
            file=sys.stderr,
        )
        return 2
    sys.path.insert(0, str(_HERE))
    from gpulab.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
