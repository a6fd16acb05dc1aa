"""What finding a row's shard costs, in the application's own process."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stacks import plan, render, stack_file
from stacks.paths import ROOT
from tests.bench.measure import Command, pair
from tests.bench.table import Row

SHARDS, MOST_US = 64, 100.0
QUERIES = 1_000_000

# Ids of the size that rows have: each is another one, as for different customers.
LOOP = """\
import sys
from pathlib import Path
from crm import ids
from crm.figures import Figures
from crm.settings import Secrets, Settings, parse
from crm.shards import Shards
folder = Path(sys.argv[1])
file = parse((folder / "app.json").read_bytes(), "app.json")
shards = Shards(Settings("bench", Secrets(folder), file, folder, folder), Figures())
first = 62674576613786
for row_id in range(first, first + int(sys.argv[2])):
    {}
"""
BARE = "row_id"
ROUTED = {
    "the shard of an id": ("shards.of(row_id)", 1),
    # An order's own id tells its shard, too: ids are drawn until one falls into the bucket.
    "an id for a new order": ("ids.new_id_in(shards.bucket_of(row_id), shards.buckets)", 20),
}


def rows(times: int) -> Iterator[Row]:
    """Routing by the largest map there may be. Raises ``CannotRunError``."""
    spec = stack_file.parse({"database": {"shards": SHARDS}}, "bench")
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        tree = render.Renderer().tree(plan.make("bench", spec))
        (Path(folder) / "app.json").write_text(tree["app/app.json"], encoding="utf-8")

        def loop(body: str, queries: int) -> Command:
            words = (sys.executable, "-c", LOOP.format(body), folder, str(queries))
            return Command(words, ROOT, {**os.environ, "PYTHONPATH": str(ROOT / "app")})

        for what, (body, less) in ROUTED.items():
            queries = QUERIES // less
            measured = pair(loop(body, queries), loop(BARE, queries), times)
            each = (measured.one.cpu - measured.other.cpu) / queries * 1e6
            what = f"routing, {what}, {queries} times"
            yield Row(what, "the same without", measured, each, "µs per query", MOST_US)
