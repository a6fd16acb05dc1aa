"""What is put into a files volume."""

import io
import tarfile
import time

from stacks.targets.docker_host import files_archive


def test_files_say_when_they_were_written() -> None:
    """A service that looks at a file's time sees that another one took its place."""
    before = int(time.time())
    archive = files_archive({"nginx.conf": "a"}, {"edge_tls_certificate": "b"}, 10004)
    with tarfile.open(fileobj=io.BytesIO(archive)) as read:
        files = [member for member in read if member.isfile()]
    assert [member.name for member in files] == ["nginx.conf", "secrets/edge_tls_certificate"]
    assert all(before <= member.mtime <= time.time() for member in files)
