"""What others say of an nginx configuration: crossplane (is it one?), gixy (is it safe?).

crossplane is here the fork that carries it on, ngxparse: the original takes what stands in a `map`
for directives it does not know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import crossplane
import gixy
from crossplane import analyzer
from gixy.core.config import Config
from gixy.core.manager import Manager

_ANYWHERE = analyzer.NGX_HTTP_MAIN_CONF | analyzer.NGX_HTTP_SRV_CONF | analyzer.NGX_HTTP_LOC_CONF
NEWER: dict[str, list[int]] = {
    # nginx 1.19.10.
    "keepalive_time": [_ANYWHERE | analyzer.NGX_HTTP_UPS_CONF | analyzer.NGX_CONF_TAKE1],
    # nginx 1.27.4.
    "keepalive_min_timeout": [_ANYWHERE | analyzer.NGX_CONF_TAKE1],
    # nginx 1.25.1.
    "http2": [analyzer.NGX_HTTP_MAIN_CONF | analyzer.NGX_HTTP_SRV_CONF | analyzer.NGX_CONF_FLAG],
    # The module njs is not nginx's own: https://nginx.org/en/docs/http/ngx_http_js_module.html
    "js_import": [_ANYWHERE | analyzer.NGX_CONF_TAKE13],
    "js_shared_dict_zone": [analyzer.NGX_HTTP_MAIN_CONF | analyzer.NGX_CONF_1MORE],
}
"""Directives that crossplane does not know: where each may stand and with how many arguments, as
the documentation says. (Its own ``register_external_directives`` needs Python 2.)"""

analyzer.DIRECTIVES.update(NEWER)

LEAST = ("MEDIUM", "HIGH")
"""From which severity on a finding of gixy's counts."""


def parsed(text: str, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The directives of ``text`` and what crossplane has against them, written into ``folder``."""
    conf = folder / "nginx.conf"
    conf.write_text(text, encoding="utf-8")
    found = crossplane.parse(str(conf), strict=True, check_ctx=True, check_args=True)
    return found["config"][0]["parsed"], [error["error"] for error in found["errors"]]


def findings(text: str, folder: Path) -> list[str]:
    """What gixy has against ``text``, of ``LEAST`` severity or above: ``plugin: reason``."""
    conf = folder / "nginx.conf"
    conf.write_text(text, encoding="utf-8")
    manager = Manager(config=Config(severity=gixy.severity.MEDIUM, load_default_vars=True))
    with conf.open(encoding="utf-8") as file:
        manager.audit(str(conf), file)
    return sorted(
        f"{plugin.name}: {issue.summary or plugin.summary} {issue.reason or ''}".strip()
        for plugin in manager.results
        for issue in plugin.issues
        if (issue.severity or plugin.severity) in LEAST
    )
