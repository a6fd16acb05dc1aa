"""What differs in nginx's configuration between the targets."""

import re


def without_dockers(text: str) -> str:
    """``text`` without what only Docker needs: asking its name server for changed addresses."""
    text = re.sub(r"(server \S+:\d+ .*) resolve;", r"\1;", text)
    asked = r"\n    # The container network's own.*?resolver_timeout \S+;\n"
    return re.sub(asked, "", text, flags=re.DOTALL)
