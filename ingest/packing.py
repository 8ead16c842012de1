"""From what a post held to pieces: lines of JSON for one shard that fit one chunk. Pure.

The lines are final. Nothing behind this point parses an event again in order to write it again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import orjson

from ingest.harvest import Harvest, Reject
from ingest.posts import Post
from ingest.settings import Batching
from streams.contracts import codec
from streams.contracts.dead_letter import DeadLetter, Reason, split
from streams.contracts.sections import Inbox, ReceiptPart
from streams.contracts.sharding import shard
from streams.contracts.topics import CHUNK_LIMIT

HEADER_ROOM = 1024
"""Bytes of a chunk that are kept free for its header."""
RECEIPT_ROOM = 320
"""Bytes that the line of a receipt takes at most."""
PIECE_LIMIT = CHUNK_LIMIT - HEADER_ROOM - RECEIPT_ROOM
"""Bytes of lines that a piece may have so that it fits a chunk alone."""
DETAIL_LIMIT = 500
"""Characters of a dead letter's sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """What one post has in one chunk; never divided again."""

    shard: int
    post: Post
    batching: Batching
    events: int = 0
    event_lines: bytes = b""
    dead_letters: int = 0
    dead_letter_lines: bytes = b""

    @property
    def size(self) -> int:
        """Bytes that it takes of a chunk."""
        return len(self.event_lines) + len(self.dead_letter_lines) + RECEIPT_ROOM


def pack(harvest: Harvest, post: Post, *, shards: int, batching: Batching, version: str) -> list[Piece]:
    """Write all events and dead letters of a post as lines by shard, cut them into pieces, and count them in the post.

    Args:
        harvest: what the post held.
        post: which one.
        shards: how many there are.
        batching: what its source wishes.
        version: of todoke, for dead letters.
    """
    rejects = list(harvest.rejects)
    lines_of: dict[int, list[bytes]] = {}
    for event in harvest.events:
        line = orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
        if len(line) > PIECE_LIMIT:
            detail = f"the event has {len(line)} bytes as JSON, a chunk has room for {PIECE_LIMIT}"
            rejects.append(Reject(Reason.RECORD_TOO_LARGE, detail, line))
            continue
        at = shard(event["source"], event["type"], event["message_id"], event["recipient"], shards)
        try:
            lines_of[at].append(line)
        except KeyError:
            lines_of[at] = [line]
    pieces = [
        Piece(shard=at, post=post, batching=batching, events=count, event_lines=lines)
        for at, lines_here in lines_of.items()
        for count, lines in _blocks(lines_here, batching)
    ]
    if rejects:
        pieces += _of_rejects(rejects, post, shards, batching, version)
    post.accepted = len(harvest.events) + len(harvest.rejects)
    post.expect(len(pieces))
    return pieces


def _of_rejects(
    rejects: Sequence[Reject], post: Post, shards: int, batching: Batching, version: str
) -> Iterator[Piece]:
    at = crc32(post.receipt.encode()) % shards
    lines = list(_dead_letters(rejects, post, version))
    counted = 0
    for count, block in _blocks(lines, batching):
        firsts = block.count(b',"part":0,')
        counted += count
        yield Piece(shard=at, post=post, batching=batching, dead_letters=firsts, dead_letter_lines=block)


def _dead_letters(rejects: Sequence[Reject], post: Post, version: str) -> Iterator[bytes]:
    for number, reject in enumerate(rejects):
        for part, parts, raw_base64 in split(reject.raw):
            letter: DeadLetter = {
                "receipt": post.receipt,
                "number": number,
                "part": part,
                "parts": parts,
                "source": post.source,
                "reason": reject.reason,
                "detail": reject.detail[:DETAIL_LIMIT],
                "topic": "",
                "partition": -1,
                "offset": -1,
                "version": version,
                "received_at": post.received_at,
                "raw_base64": raw_base64,
            }
            yield orjson.dumps(letter, option=orjson.OPT_APPEND_NEWLINE)


def _blocks(lines: list[bytes], batching: Batching) -> Iterator[tuple[int, bytes]]:
    """Join lines to blocks that keep within the limits, unless a single line does not: ``(lines, bytes)`` each."""
    limit = batching.max_bytes - HEADER_ROOM - RECEIPT_ROOM
    whole = b"".join(lines)
    if len(lines) <= batching.max_events and len(whole) <= limit:
        yield len(lines), whole
        return
    block: list[bytes] = []
    size = 0
    for line in lines:
        if block and (len(block) == batching.max_events or size + len(line) > limit):
            yield len(block), b"".join(block)
            block, size = [], 0
        block.append(line)
        size += len(line)
    yield len(block), b"".join(block)


def chunk(pieces: Sequence[Piece]) -> bytes:
    """Write the record for the inbox that holds these pieces of one shard."""
    receipts = []
    for piece in pieces:
        post = piece.post
        part: ReceiptPart = {
            "receipt": post.receipt,
            "source": post.source,
            "received_at": post.received_at,
            "accepted": post.accepted,
            "events": piece.events,
            "dead_letters": piece.dead_letters,
        }
        receipts.append(orjson.dumps(part, option=orjson.OPT_APPEND_NEWLINE))
    return codec.encode(
        {"received_at": max(piece.post.received_at for piece in pieces)},
        {
            Inbox.EVENTS: b"".join([piece.event_lines for piece in pieces]),
            Inbox.RECEIPTS: b"".join(receipts),
            Inbox.DEAD_LETTERS: b"".join([piece.dead_letter_lines for piece in pieces]),
        },
    )
