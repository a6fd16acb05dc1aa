"""What differs in nginx's configuration between the targets."""

import re

DOCKERS = (
    r"\n    # The container network's own.*?resolver_timeout \S+;\n",
    r" +set \$route \d+;\n",
    r" +location @again_\d+ \{.*?\}\n\n",
    r"    # nginx asks no further replica.*?\}\n    map .*?\}\n",
)


def without_dockers(text: str) -> str:
    """``text`` without what only Docker needs: asking its name server for changed addresses, and
    asking again when one has changed."""
    text = re.sub(r"(server \S+:\d+ .*) resolve;", r"\1;", text)
    text = text.replace("502 = $on_502;", "502 = @bad_gateway;")
    text = text.replace("504 = $on_504;", "504 = @too_slow;")
    for more in DOCKERS:
        text = re.sub(more, "", text, flags=re.DOTALL)
    return text
