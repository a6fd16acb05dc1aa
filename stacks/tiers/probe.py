"""A health check that needs nothing but bash, which every image here has."""


def http_get(port: int, path: str) -> tuple[str, ...]:
    """A command that succeeds when ``path`` on local ``port`` answers 200.

    bash opens the connection itself: neither official nor Debian-built images agree on having
    curl or wget, and an interpreter's start at every check would cost more than it checks.
    """
    script = (
        f"exec 3<>/dev/tcp/127.0.0.1/{port} && "
        f"printf 'GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && "
        'read -r -t 3 line <&3 && [[ $line == *" 200"* ]]'
    )
    return ("bash", "-c", script)
