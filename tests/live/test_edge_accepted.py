"""What is rendered for every option of the load balancing is accepted by the real proxies."""

from __future__ import annotations

import pytest

from stacks import check
from stacks.errors import CrmError
from tests import edges

pytestmark = pytest.mark.live

SETS = [
    *((proxy, *each) for proxy in edges.CONFIGURATION for each in edges.BOTH.items()),
    *(("haproxy", *each) for each in edges.OWN.items()),
]


@pytest.mark.parametrize(
    ("proxy", "config"),
    [pytest.param(proxy, config, id=f"{proxy}-{name}") for proxy, name, config in SETS],
)
def test_proxy_accepts_what_is_rendered(
    proxy: str, config: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    planned = edges.made(proxy, config)
    check.proxies(planned, edges.RENDERER.tree(planned))
    assert f"dev: edge: accepted by {proxy} -" in capsys.readouterr().out


def test_proxy_that_refuses_is_heard() -> None:
    planned = edges.made("haproxy", {})
    tree = edges.RENDERER.tree(planned)
    broken = tree["haproxy/haproxy.cfg"].replace("balance roundrobin", "balance nonsense")
    assert broken != tree["haproxy/haproxy.cfg"]
    with pytest.raises(CrmError, match=r"haproxy\.cfg:\d+.*balance"):
        check.proxies(planned, {**tree, "haproxy/haproxy.cfg": broken})
