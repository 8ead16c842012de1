import base64

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from ingest.event import Event
from ingest.harvest import Context, Harvest, Reject
from ingest.packing import PIECE_LIMIT, Piece, chunk, pack
from ingest.posts import Post
from ingest.providers.generic import Generic
from ingest.settings import Batching
from streams.contracts.codec import decode
from streams.contracts.dead_letter import PART_LIMIT, Reason
from streams.contracts.sharding import shard
from streams.contracts.topics import CHUNK_LIMIT
from tests.unit.ingest.conftest import MakePost

SHARDS = 3


def events(context: Context, *subjects: str, **fields: str) -> list[Event]:
    generic = Generic()
    records = [
        {"type": "queued", "occurred_at": "2023-01-25T00:00:00Z", "message_id": f"{number}@x", "subject": subject}
        | fields
        for number, subject in enumerate(subjects)
    ]
    return generic.harvest(generic.unpack(orjson.dumps(records), "application/json"), context).events


def packed(harvest: Harvest, post: Post, batching: Batching | None = None) -> list[Piece]:
    return pack(harvest, post, shards=SHARDS, batching=batching or Batching(), version="1")


def lines(section: bytes) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in section.splitlines()]


NASTY = st.sampled_from(['},{"id":', '}\n{"id":', ',"~":', '"', "\\", "\n", "\u2028", "", "メール"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(NASTY | st.text(st.characters(exclude_categories=["Cs"])), max_size=4).map("".join)))
def test_every_event_is_one_line_in_its_shard(context: Context, make_post: MakePost, subjects: list[str]) -> None:
    post = make_post()
    made = events(context, *subjects)
    pieces = packed(Harvest(events=made), post)
    assert post.accepted == len(made) == sum(piece.events for piece in pieces)
    found = {piece.shard: lines(piece.event_lines) for piece in pieces}
    expected: dict[int, list[dict[str, object]]] = {}
    for event in made:
        at = shard(event.source, event.type, event.message_id, event.recipient, SHARDS)
        expected.setdefault(at, []).append(asdict(event))
    assert found == expected
    assert all(piece.event_lines.endswith(b"\n") for piece in pieces)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=40),
    max_events=st.integers(1, 50),
    max_bytes=st.integers(10_000, 40_000),
)
def test_pieces_keep_within_the_limits(
    context: Context, make_post: MakePost, sizes: list[int], max_events: int, max_bytes: int
) -> None:
    made = events(context, *("x" * size for size in sizes), message_id="one@shard")
    batching = Batching(max_events=max_events, max_bytes=max_bytes)
    pieces = packed(Harvest(events=made), make_post(), batching)
    assert [event for piece in pieces for event in lines(piece.event_lines)] == list(map(asdict, made))
    for piece in pieces:
        assert piece.events == len(lines(piece.event_lines)) <= max_events
        assert piece.events == 1 or len(chunk([piece])) <= max_bytes


def test_a_post_larger_than_a_chunk_is_cut(context: Context, make_post: MakePost) -> None:
    made = events(context, *["x" * 10_000] * 300, message_id="one@shard")
    pieces = packed(Harvest(events=made), make_post())
    assert len(pieces) == 4
    assert all(CHUNK_LIMIT / 2 < len(chunk([piece])) <= CHUNK_LIMIT for piece in pieces)


def test_an_event_larger_than_a_chunk_is_put_aside(context: Context, make_post: MakePost) -> None:
    post = make_post()
    made = events(context, "small", "x" * CHUNK_LIMIT, "small")
    pieces = packed(Harvest(events=made), post)
    assert sum(piece.events for piece in pieces) == 2
    assert post.accepted == 3
    letters = [letter for piece in pieces for letter in lines(piece.dead_letter_lines)]
    assert {letter["reason"] for letter in letters} == {Reason.RECORD_TOO_LARGE}
    assert sum(piece.dead_letters for piece in pieces) == 1
    assert all(len(chunk([piece])) <= CHUNK_LIMIT for piece in pieces)
    assert orjson.loads(_raw(letters)) == asdict(made[1])


def test_large_dead_letters_come_in_parts_that_fit(make_post: MakePost) -> None:
    post = make_post()
    raw = bytes(range(256)) * (3 * PART_LIMIT // 256) + b"end"
    rejects = [Reject(Reason.BODY_UNREADABLE, "d" * 9999, raw), Reject(Reason.BODY_SHAPE, "why", b"")]
    pieces = packed(Harvest(rejects=rejects), post)
    assert post.accepted == 2
    assert len({piece.shard for piece in pieces}) == 1
    letters = [letter for piece in pieces for letter in lines(piece.dead_letter_lines)]
    assert [(letter["number"], letter["part"], letter["parts"]) for letter in letters] == [
        (0, 0, 4),
        (0, 1, 4),
        (0, 2, 4),
        (0, 3, 4),
        (1, 0, 1),
    ]
    assert _raw(letters[:4]) == raw
    assert sum(piece.dead_letters for piece in pieces) == 2
    assert all(len(piece.dead_letter_lines) <= PIECE_LIMIT for piece in pieces)


def _raw(letters: list[dict[str, object]]) -> bytes:
    return b"".join(base64.b64decode(str(letter["raw_base64"])) for letter in letters)


def test_a_chunk_says_what_each_post_has_in_it(context: Context, make_post: MakePost) -> None:
    one, other = make_post(), make_post()
    mine = packed(Harvest(events=events(context, "a", "b", message_id="1@x")), one)
    rejects = [Reject(Reason.BODY_SHAPE, "why", b"raw")]
    theirs = packed(Harvest(events=events(context, "c", message_id="1@x"), rejects=rejects), other)
    record = decode(chunk([*mine, *theirs]))
    assert record.header["received_at"] == one.received_at
    assert lines(record.section("receipts")) == [
        {**_part(one), "accepted": 2, "events": 2, "dead_letters": 0, "part": 0},
        {**_part(other), "accepted": 2, "events": 1, "dead_letters": 0, "part": 0},
        {**_part(other), "accepted": 2, "events": 0, "dead_letters": 1, "part": 1},
    ]
    assert [event["subject"] for event in lines(record.section("events"))] == ["a", "b", "c"]
    assert len(lines(record.section("dead_letters"))) == 1


def _part(post: Post) -> dict[str, str]:
    return {"receipt": post.receipt, "source": post.source, "received_at": post.received_at}


def test_nothing_makes_no_piece(make_post: MakePost) -> None:
    post = make_post()
    assert packed(Harvest(), post) == []
    assert post.accepted == 0
