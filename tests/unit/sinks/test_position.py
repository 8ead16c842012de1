import pytest

from sinks.position import Bounds, Position
from streams.contracts.chain import Chain


@pytest.mark.parametrize(
    "position",
    [
        Position(offset=0),
        Position(offset=7, epoch="00ff", stamp=6, linked=True),
        Position(offset=7, epoch="00ff", stamp=6, linked=False, intent=Bounds(7, 12)),
        Position(offset=7, epoch="00ff", stamp=6, linked=True, reached=("00fe", 9)),
    ],
)
def test_a_position_survives_the_commit(position: Position) -> None:
    assert Position.of(position.offset, position.metadata()) == position


def test_the_metadata_fits_into_a_commit_whatever_the_numbers_are() -> None:
    position = Position(offset=2**63 - 1, epoch="f" * 16, stamp=2**63 - 1, linked=True, intent=Bounds(0, 2**63 - 1))

    assert len(position.metadata()) < 4096


@pytest.mark.parametrize(
    "metadata", ["", "set by hand", "{}", '{"form":2}', '{"form":1}', '{"form":1,"intent":[1]}', "[]"]
)
def test_an_offset_that_was_set_with_other_tools_is_a_fresh_beginning(metadata: str) -> None:
    assert Position.of(9, metadata) == Position(offset=9)


def test_a_position_gives_back_the_chain_it_was_made_of() -> None:
    chain = Chain(epoch="e", stamp=3, linked=True)

    assert Position.at(5, chain).chain() == chain


def test_bounds_count_and_contain_both_ends() -> None:
    bounds = Bounds(3, 5)

    assert len(bounds) == 3
    assert [offset for offset in range(8) if offset in bounds] == [3, 4, 5]
