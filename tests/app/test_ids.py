"""Ids and buckets are a stored format: these numbers must never change."""

import time

import pytest

from crm import ids


@pytest.mark.parametrize(("row_id", "bucket"), [(0, 33), (1, 55), (62673993195153, 26)])
def test_bucket_of_is_fixed_for_ever(row_id: int, bucket: int) -> None:
    assert ids.bucket_of(row_id, 64) == bucket


def test_new_id_holds_its_second_and_stays_exact_in_javascript() -> None:
    row_id = ids.new_id(now=ids.EPOCH + 1000.9)
    assert row_id >> ids.RANDOM_BITS == 1000
    far = ids.new_id(now=time.mktime((2150, 1, 1, 0, 0, 0, 0, 0, 0)))
    assert far <= ids.MAX_ID


@pytest.mark.parametrize("bucket", range(0, 64, 7))
def test_new_id_in_falls_into_the_bucket_asked_for(bucket: int) -> None:
    assert ids.bucket_of(ids.new_id_in(bucket, 64), 64) == bucket


def test_new_id_in_a_bucket_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="bucket 1 of 1"):
        ids.new_id_in(1, 1)
