"""The tables as the statements see them. templates/mysql/schema.sql.j2 is what creates them."""

from sqlalchemy import BigInteger, Column, Date, DateTime, MetaData, Numeric, String, Table

metadata = MetaData()

customers = Table(
    "customers",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String),
    Column("email", String),
    Column("created_at", DateTime),
)

users = Table(
    "users",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String),
    Column("email", String),
    Column("role", String),
    Column("created_at", DateTime),
)

orders = Table(
    "crm_orders",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("customer_id", BigInteger),
    Column("order_date", Date, primary_key=True),
    Column("order_amount", Numeric(12, 2)),
)
