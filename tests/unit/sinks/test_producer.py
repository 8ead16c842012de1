from itertools import chain

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import given
from hypothesis import strategies as st

from sinks.producer import fill
from sinks.publication import Publication

NOW = 1_772_409_600_000
ROOM = 500

some_bytes = st.binary(max_size=2 * ROOM)
headers = st.lists(st.tuples(st.text(max_size=9), st.binary(max_size=40)), max_size=3)
publications = st.tuples(st.none() | st.binary(max_size=40), st.none() | some_bytes, headers)


def batches(given_: list[Publication]) -> list[BatchBuilder]:
    filled = []
    coming = iter(given_)
    first = next(coming, None)
    while first is not None:
        filled.append(BatchBuilder(ROOM, 0, is_transactional=1))
        first = fill(filled[-1], chain((first,), coming), NOW)
    return filled


def built_by_aiokafka(taken: list[Publication]) -> bytes:
    batch = BatchBuilder(ROOM, 0, is_transactional=1)
    for key, value, headers in taken:
        assert batch.append(timestamp=NOW, key=key, value=value, headers=headers)
    return bytes(batch._build())


@given(st.lists(publications, max_size=30))
def test_batches_have_all_records_in_order_and_the_bytes_that_aiokafka_would_give_them(
    given_: list[Publication],
) -> None:
    at = 0
    for batch in batches(given_):
        taken = given_[at : at + batch.record_count()]
        built = bytes(batch._build())

        assert built == built_by_aiokafka(taken)
        assert [(one.key, one.value, one.headers) for one in DefaultRecordBatch(built)] == taken
        at += len(taken)
    assert at == len(given_)


@given(st.lists(publications, min_size=1, max_size=30))
def test_a_batch_ends_only_where_the_next_record_finds_no_room(given_: list[Publication]) -> None:
    at = 0
    for filled in batches(given_)[:-1]:
        count = filled.record_count()
        batch = BatchBuilder(ROOM, 0, is_transactional=1)
        taken = [
            batch.append(timestamp=NOW, key=key, value=value, headers=headers) is not None
            for key, value, headers in given_[at : at + count + 1]
        ]
        assert taken == [True] * count + [False]
        at += count
