"""The three figures are what their formulas say."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import crm
from crm.figures import Figures


def test_report_without_observations_says_none() -> None:
    report = Figures().report("app-1")
    assert report.response.average_seconds is None
    assert report.queries == {}
    assert report.cache.ratio is None


def test_average_response_time_is_over_all_routes() -> None:
    figures = Figures()
    figures.responded("GET", "/a", 200, 0.1)
    figures.responded("POST", "/b", 503, 0.4)
    figures.responded("GET", "/a", 200, 0.1)
    report = figures.report("app-1")
    assert report.response.count == 3
    assert report.response.average_seconds == pytest.approx(0.2)


def test_partition_query_time_is_by_shard_over_all_tables() -> None:
    figures = Figures()
    for shard, table in (("one", "customers"), ("one", "users"), ("two", "customers")):
        with figures.query(shard, table):
            pass
    queries = figures.report("app-1").queries
    assert {shard: average.count for shard, average in queries.items()} == {"one": 2, "two": 1}
    assert all((average.average_seconds or 0) > 0 for average in queries.values())


def test_partition_query_time_of_a_table_leaves_the_others_out() -> None:
    figures = Figures()
    for table, pause in (("crm_orders", 0.02), ("users", 0.0), ("users", 0.0)):
        with figures.query("one", table):
            time.sleep(pause)
    tables = figures.report("app-1").tables
    assert {table: average.count for table, average in tables["one"].items()} == {
        "crm_orders": 1,
        "users": 2,
    }
    orders, users = (tables["one"][table].average_seconds for table in ("crm_orders", "users"))
    assert orders is not None
    assert users is not None
    assert orders > 0.02 > users


def test_query_that_fails_is_counted() -> None:
    figures = Figures()
    with pytest.raises(RuntimeError), figures.query("one", "users"):
        raise RuntimeError
    assert figures.report("app-1").queries["one"].count == 1


def test_cache_hit_ratio_is_hits_by_queries() -> None:
    figures = Figures()
    for _ in range(3):
        figures.cache_hit()
    figures.cache_miss()
    assert figures.report("app-1").cache.ratio == pytest.approx(0.75)


def test_expose_speaks_prometheus() -> None:
    figures = Figures()
    figures.cache_hit()
    assert b'crm_cache_queries_total{result="hit"} 1.0' in figures.expose()


def test_report_adds_up_all_workers_of_a_replica(tmp_path: Path) -> None:
    """In processes of their own: prometheus_client looks for the folder when it is imported."""
    count = "from crm.figures import Figures; f = Figures(); f.cache_hit(); f.cache_miss()"
    report = "from crm.figures import Figures; print(Figures().report('app-1').cache.queries)"
    environ = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(crm.__file__).parents[1]),
    }
    for script in (count, count):
        subprocess.run([sys.executable, "-c", script], env=environ, check=True)
    found = subprocess.run(
        [sys.executable, "-c", report], env=environ, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "4"
