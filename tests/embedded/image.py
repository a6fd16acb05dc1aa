"""An image of the host's own ``sleep`` and ``sh``, made without any other."""

import io
import re
import subprocess
import tarfile
from pathlib import Path

import docker


def make(client: docker.DockerClient, name: str) -> None:
    """Import it as ``name``, such as ``repository:tag``."""
    programs = ["/bin/sleep", "/bin/sh"]
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted({*programs, *re.findall(r"(/\S+) \(0x", listed)}):
            archive.add(Path(path).resolve(), path)
    repository, tag = name.split(":")
    client.api.import_image_from_data(buffer.getvalue(), repository=repository, tag=tag)
