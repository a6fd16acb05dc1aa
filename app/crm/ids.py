"""Row ids, and which bucket a row belongs to."""

import secrets
import time
import zlib

EPOCH = 1_735_689_600  # 2025-01-01T00:00:00Z, in Unix seconds
RANDOM_BITS = 20
IDS_A_SECOND = 1 << RANDOM_BITS
MAX_ID = 2**53 - 1  # what JavaScript's numbers hold exactly


def bucket_of(row_id: int, buckets: int) -> int:
    """The bucket of an id. Part of the stored format: a change would lose every row."""
    return zlib.crc32(str(row_id).encode()) % buckets


def new_id(now: float | None = None) -> int:
    """A fresh id: seconds since 2025, then 20 random bits. Later ids are larger.

    Two ids of one second may be equal (1 in 2**20): whoever inserts must notice and draw again.
    """
    seconds = int(time.time() if now is None else now) - EPOCH
    return (seconds << RANDOM_BITS) | secrets.randbits(RANDOM_BITS)


def new_id_in(bucket: int, buckets: int) -> int:
    """A fresh id that falls into one bucket.

    Orders get these: with the order's own bucket equal to its customer's, ids of different shards
    cannot be equal, and the shard of an order follows from its id. Takes about ``buckets`` draws
    of under a microsecond each.
    """
    start = new_id()
    second, bits = start >> RANDOM_BITS, start % IDS_A_SECOND
    for step in range(IDS_A_SECOND):
        row_id = (second << RANDOM_BITS) | ((bits + step) % IDS_A_SECOND)
        if bucket_of(row_id, buckets) == bucket:
            return row_id
    raise ValueError(f"no id of this second falls into bucket {bucket} of {buckets}")
