"""An environment for a tool of others whose packages cannot be this project's.

Made where it is first asked for, in the user's cache, by version: a fresh clone finds it there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

_INSTALL_SECONDS = 900


def python(tool: str, version: str) -> Path:
    """The Python of the environment that has ``tool``. A kill leaves nothing half made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crm-platform"
    folder = cache / f"{tool}-{version}-python{sys.version_info[0]}.{sys.version_info[1]}"
    if not folder.exists():
        print(f"Installing {tool} {version} from your package index into {folder}", file=sys.stderr)
        new = folder.with_name(f"{folder.name}.{os.getpid()}")
        try:
            venv.create(new, with_pip=True)
            done = subprocess.run(
                [new / "bin" / "python", "-m", "pip", "install", "--quiet", f"{tool}=={version}"],
                capture_output=True,
                text=True,
                timeout=_INSTALL_SECONDS,
                check=False,
            )
            assert done.returncode == 0, f"{tool} {version} cannot be installed: {done.stderr}"
            # Run as a module of its Python, it does not mind being moved. Another worker of this
            # run may have been first.
            try:
                new.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return folder / "bin" / "python"
