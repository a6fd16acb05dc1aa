"""What partitions by month do for the orders of one month: to read them, and to be rid of them.

Three tables in one server hold the same rows: as rendered, with the primary key alone, and with an
index on the date. All fit its memory. CPU is that of the server's container.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from itertools import pairwise
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from stacks import plan, render, stack_file
from stacks.plan import Plan
from tests.bench.measure import CannotRunError, Cost, of_runs
from tests.bench.table import Row
from tests.live import own

ORDERS = 5_000_000
MOST = 0.1
"""Of the CPU that the table without partitions takes for one month of 24."""
START, MONTHS = date(2025, 1, 1), 24
DAYS = (date(2027, 1, 1) - START).days

# Ids follow time, as real ones do.
FILL = """\
INSERT INTO plain SELECT n, n % 100003, DATE '{start}' + INTERVAL n * {days} DIV {orders} DAY,
       n % 9973 / 100
  FROM (SELECT {number} AS n FROM {digits}) numbers WHERE n < {orders} ORDER BY n"""
MONTH = (
    "SELECT COUNT(*), SUM(order_amount) FROM {} "
    "WHERE order_date >= '{:%Y-%m-%d}' AND order_date < '{:%Y-%m-%d}'"
)


def rows(times: int, orders: int = ORDERS) -> Iterator[Row]:
    """One month's orders read, then dropped. Raises ``CannotRunError``."""
    with own.mysql(data_mib=4096, buffer_mib=2048) as server:
        server.sql("CREATE USER bench@'%'; GRANT ALL ON *.* TO bench@'%'")
        connection = pymysql.connect(
            host=own.gateway(), port=server.port, user="bench", autocommit=True
        )
        with closing(connection), connection.cursor() as cursor:
            months = fill(cursor, orders)
            yield from _read(server, cursor, months, times, orders)
            yield _dropped(server, cursor, months, times)


def planned() -> Plan:
    """A stack whose orders are in as many monthly partitions."""
    orders = {
        "partition_by": "range",
        "column": "order_date",
        "interval": "month",
        "start": f"{START:%Y-%m}",
        "count": MONTHS,
    }
    return plan.make("bench", stack_file.parse({"database": {"orders": orders}}, "bench"))


def fill(cursor: Cursor, orders: int) -> list[tuple[str, date, date]]:
    """Make the three tables; each month's partition, first day, and the first day after it."""
    cursor.execute("CREATE DATABASE bench")
    cursor.execute("USE bench")
    schema = render.Renderer().tree(planned())["mysql/schema.sql"]
    create = schema[schema.index("CREATE TABLE IF NOT EXISTS crm_orders") :]
    cursor.execute(create.partition(";")[0])
    cursor.execute("CREATE TABLE digits (d INT PRIMARY KEY)")
    cursor.executemany("INSERT INTO digits VALUES (%s)", [(digit,) for digit in range(10)])
    cursor.execute(
        "CREATE TABLE plain (id BIGINT PRIMARY KEY, customer_id BIGINT NOT NULL, "
        "order_date DATE NOT NULL, order_amount DECIMAL(12, 2) NOT NULL)"
    )
    digits = [f"d{place}" for place in range(len(str(orders - 1)))]
    numbers = {
        "number": " + ".join(f"{10**place} * {name}.d" for place, name in enumerate(digits)),
        "digits": ", ".join(f"digits {name}" for name in digits),
    }
    cursor.execute(FILL.format(start=START, days=DAYS, orders=orders, **numbers))
    cursor.execute("CREATE TABLE indexed LIKE plain")
    cursor.execute("ALTER TABLE indexed ADD KEY (order_date)")
    for table in ("crm_orders", "indexed"):
        cursor.execute(f"INSERT INTO {table} SELECT * FROM plain")
    for table in ("crm_orders", "indexed", "plain"):
        cursor.execute(f"ANALYZE TABLE {table}")
    firsts = [date(START.year + n // 12, n % 12 + 1, 1) for n in range(MONTHS + 1)]
    return [(f"p_{first:%Y_%m}", first, after) for first, after in pairwise(firsts)]


def _read(
    server: own.MySQL,
    cursor: Cursor,
    months: list[tuple[str, date, date]],
    times: int,
    orders: int,
) -> Iterator[Row]:
    name, first, after = months[MONTHS // 2]
    costs: dict[str, list[Cost]] = {"crm_orders": [], "plain": [], "indexed": []}
    answers = set()
    for turn in range(times + 1):
        for table, seen in costs.items():
            cost = _cost(server, cursor, MONTH.format(table, first, after))
            answers.add(cursor.fetchone())
            # The first one of each brings the pages into memory.
            if turn:
                seen.append(cost)
    if len(answers) != 1:
        raise CannotRunError(f"{name}: the tables do not hold the same: {answers}")
    what = f"one month of {orders} orders over {MONTHS}, partitioned"
    for other, table, bound in (
        ("primary key only", "plain", MOST),
        ("index on the date", "indexed", None),
    ):
        measured = of_runs(costs["crm_orders"], costs[table])
        yield Row(what, other, measured, measured.ratio, "×", bound)


def _dropped(
    server: own.MySQL, cursor: Cursor, months: list[tuple[str, date, date]], times: int
) -> Row:
    dropped, deleted = [], []
    for name, first, after in months[:times]:
        dropped.append(_cost(server, cursor, f"ALTER TABLE crm_orders DROP PARTITION {name}"))
        where = f"order_date >= '{first}' AND order_date < '{after}'"
        deleted.append(_cost(server, cursor, f"DELETE FROM indexed WHERE {where}"))
    measured = of_runs(dropped, deleted)
    return Row("a month's partition dropped", "its rows deleted", measured, measured.ratio, "×")


def _cost(server: own.MySQL, cursor: Cursor, statement: str) -> Cost:
    """What ``statement`` takes: of the server's CPU, and until it has answered."""
    cpu, start = _cpu(server), time.perf_counter()
    cursor.execute(statement)
    wall = time.perf_counter() - start
    return Cost(_cpu(server) - cpu, wall)


def _cpu(server: own.MySQL) -> float:
    client: Any = server.container.client
    stats = client.api.stats(server.container.id, stream=False, one_shot=True)
    return int(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9
