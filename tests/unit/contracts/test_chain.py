"""Which outbox records count."""

from hypothesis import given
from hypothesis import strategies as st

from streams.contracts.chain import Chain, Link, draw_epoch


def link(stamp: int, previous: int | None, *, epoch: str = "e", founding: bool = False) -> Link:
    return Link(epoch=epoch, stamp=stamp, previous=previous, founding=founding)


def founding(stamp: int = -1, previous: int | None = None, epoch: str = "e") -> Link:
    return link(stamp, previous, epoch=epoch, founding=True)


def counted(*links: Link) -> list[Link]:
    chain = Chain()
    return [one for one in links if chain.follow(one)]


def test_each_record_continues_the_last() -> None:
    log = [founding(), link(0, -1), link(1, 0), link(5, 1)]
    assert counted(*log) == log


def test_a_record_written_twice_counts_once() -> None:
    log = [founding(), link(0, -1), link(0, -1), link(1, 0)]
    assert counted(*log) == [founding(), link(0, -1), link(1, 0)]


def test_what_was_written_behind_a_lost_record_does_not_count() -> None:
    log = [founding(), link(0, -1), link(2, 1), link(3, 2), link(1, 0), link(2, 1)]
    assert counted(*log) == [founding(), link(0, -1), link(1, 0), link(2, 1)]


def test_the_first_of_two_foundings_counts() -> None:
    log = [founding(epoch="a"), founding(epoch="b"), link(0, -1, epoch="b"), link(0, -1, epoch="a")]
    assert counted(*log) == [founding(epoch="a"), link(0, -1, epoch="a")]


def test_a_founding_may_follow_in_the_chain_and_lead_back() -> None:
    log = [founding(epoch="a"), link(7, -1, epoch="a"), founding(-1, 7, "b"), link(8, 7, epoch="a")]
    assert counted(*log, link(0, -1, epoch="b")) == [*log[:3], link(0, -1, epoch="b")]


def test_a_reader_that_begins_with_a_stray_record_finds_the_chain() -> None:
    stray = link(3, 2)
    log = [link(7, 6), link(8, 7)]
    chain = Chain()
    assert chain.follow(stray)
    assert not chain.linked
    assert [chain.follow(one) for one in log] == [True, True]
    assert chain.linked
    assert not chain.follow(link(20, 19)), "once linked, nothing but the next record counts"


def test_a_link_survives_its_header() -> None:
    for one in (founding(3, 9), link(4, 3)):
        assert Link.of(one.header()) == one


def test_the_next_offset_follows_the_stamp() -> None:
    chain = Chain()
    assert chain.next_offset() == 0
    chain.follow(founding(41))
    assert chain.next_offset() == 42


def test_epochs_differ() -> None:
    assert len({draw_epoch() for _ in range(1000)}) == 1000


def test_a_reader_that_begins_with_the_second_of_two_foundings_finds_the_chain_if_it_does_not_trust_it() -> None:
    log = [founding(epoch="b"), link(0, -1, epoch="a"), link(1, 0, epoch="a")]
    chain = Chain()
    assert chain.follow(log[0])
    chain.linked = False
    assert [chain.follow(one) for one in log[1:]] == [True, True]
    assert (chain.epoch, chain.stamp, chain.linked) == ("a", 1, True)


class Writer:
    """A worker as honest as they are: loads the log, founds it if need be, then writes from what it knows."""

    def __init__(self) -> None:
        self.chain = Chain()

    def load(self, log: list[Link]) -> None:
        self.chain = Chain()
        for one in log:
            self.chain.follow(one)

    def write(self, log: list[Link], *, lost: bool = False) -> None:
        if self.chain.stamp is None:
            one = founding(epoch=f"{id(self)}/{len(log)}")
        else:
            one = link(self.chain.next_offset(), self.chain.stamp, epoch=self.chain.epoch or "")
        self.chain.follow(one)
        if not lost:
            log.append(one)
        if one.founding:
            self.load(log)


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["load", "write", "write", "write", "lose", "repeat"])), max_size=60
)


def log_of(steps: list[tuple[int, str]]) -> list[Link]:
    """Have three workers write that lose sends, repeat sends, and notice each other late or never."""
    log: list[Link] = []
    writers = [Writer() for _ in range(3)]
    for number, step in steps:
        if step == "load":
            writers[number].load(log)
        elif step == "repeat":
            log.extend(log[-1:])
        else:
            writers[number].write(log, lost=step == "lose")
    return log


@given(STEPS)
def test_however_workers_get_into_each_others_way_readers_see_one_history(steps: list[tuple[int, str]]) -> None:
    log = log_of(steps)

    seen = counted(*log)

    assert [one.stamp for one in seen] == list(range(-1, len(seen) - 1)), "no stamp twice, none left out"
    assert len({one.epoch for one in seen}) <= 1
    last = Writer()
    last.load(log)
    last.write(log)
    assert len(counted(*log)) == len(seen) + 1, "whoever loads can go on"
