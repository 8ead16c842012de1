import pytest

from deploy.stores import check_shards
from deploy.topics import TopicsDifferError, TopicState
from streams.contracts.errors import ConfigurationError, TodokeError


def state(name: str, partitions: int) -> TopicState:
    return TopicState(name=name, partitions=partitions, created=False, differences=(), lacks={})


@pytest.mark.parametrize(
    ("partitions", "error", "told"),
    [
        (
            (2, 2),
            ConfigurationError,
            r"^topics\.shards = 4, but the topics have 2 partitions, and .*: set topics\.shards to that",
        ),
        ((4, 3), ConfigurationError, r"^topics\.shards = 4, but of the topics b has 3 partitions, and"),
        (
            (3, 2),
            ConfigurationError,
            r"^topics\.shards = 4, but of the topics a has 3 partitions, b has 2 partitions, and",
        ),
        ((4, 0), TopicsDifferError, "^topics are missing: b; run `todoke topics`"),
    ],
)
def test_another_number_of_partitions_is_told_once(
    partitions: tuple[int, int], error: type[TodokeError], told: str
) -> None:
    states = [state(name, number) for name, number in zip("ab", partitions, strict=True)]

    with pytest.raises(error, match=told):
        check_shards(states, 4)


def test_as_many_partitions_as_shards_are_fine() -> None:
    check_shards([state("a", 2)], 2)
