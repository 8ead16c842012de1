"""Where a worker that loads begins in the middle of its log, it comes to the chain that all readers know."""

from hypothesis import given
from hypothesis import strategies as st

from streams.contracts.chain import Chain, Link
from streams.loading import CERTAIN_AFTER, Footing
from streams.settings import WorkerSettings
from tests.unit.contracts.test_chain import STEPS, Writer, log_of


def late_reader(log: list[Link], at: int) -> Chain:
    chain = Chain()
    footing = Footing(chain, at_beginning=at == 0)
    for link in log[at:]:
        last_stamp = chain.stamp
        if chain.follow(link):
            footing.stepped(link, last_stamp)
    return chain


@given(STEPS, st.data())
def test_a_reader_that_begins_anywhere_comes_to_where_the_others_are(
    steps: list[tuple[int, str]], data: st.DataObject
) -> None:
    log = log_of(steps)
    at = data.draw(st.integers(0, len(log)))
    last = Writer()
    last.load(log)
    for _ in range(CERTAIN_AFTER + 10):
        last.write(log)

    chain = late_reader(log, at)

    assert (chain.epoch, chain.stamp, chain.linked) == (last.chain.epoch, last.chain.stamp, True)


def test_a_worker_leaves_fewer_records_behind_than_make_a_reader_certain() -> None:
    (limit,) = (rule.le for rule in WorkerSettings.model_fields["in_flight"].metadata if hasattr(rule, "le"))
    assert limit < CERTAIN_AFTER
