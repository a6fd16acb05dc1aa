-- The tables of every shard. Rendered; carried out by the schema job, any number of times.

CREATE TABLE IF NOT EXISTS crm_shard (
    id TINYINT UNSIGNED NOT NULL,
    name VARCHAR(64) NOT NULL,
    buckets INT UNSIGNED NOT NULL,
    first_bucket INT UNSIGNED NOT NULL,
    last_bucket INT UNSIGNED NOT NULL,
    map_version VARCHAR(16) NOT NULL DEFAULT '',
    PRIMARY KEY (id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS customers (
    id BIGINT NOT NULL,
    name VARCHAR(200) NOT NULL,
    email VARCHAR(254) NOT NULL,
    created_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    PRIMARY KEY (id),
    KEY customers_email (email)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS users (
    id BIGINT NOT NULL,
    name VARCHAR(200) NOT NULL,
    email VARCHAR(254) NOT NULL,
    role VARCHAR(32) NOT NULL,
    created_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    PRIMARY KEY (id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS crm_orders (
    id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL,
    order_date DATE NOT NULL,
    order_amount DECIMAL(12, 2) NOT NULL,
    PRIMARY KEY (id, customer_id),
    KEY crm_orders_customer (customer_id, order_date)
) ENGINE = InnoDB
PARTITION BY HASH (customer_id)
PARTITIONS 8;
