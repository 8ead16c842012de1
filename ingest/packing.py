"""From what a post held to pieces: lines of JSON for one shard that fit one chunk. Pure.

The lines are final. Nothing behind this point parses an event again in order to write it again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import msgspec
import orjson

from ingest.event import Event
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

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """What one post has in one chunk; never divided again."""

    shard: int
    post: Post
    batching: Batching
    number: int = 0
    """Counts the pieces of the post; the same for the same piece, however often it is sent."""
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
    by_shard: dict[int, list[Event]] = {}
    for event in harvest.events:
        at = shard(event.source, event.type, event.message_id, event.recipient, shards)
        try:
            by_shard[at].append(event)
        except KeyError:
            by_shard[at] = [event]
    pieces: list[Piece] = []
    limit = batching.max_bytes - HEADER_ROOM - RECEIPT_ROOM
    for at, events in by_shard.items():
        for begin in range(0, len(events), batching.max_events):
            for count, lines in _blocks(events[begin : begin + batching.max_events], limit):
                if len(lines) > PIECE_LIMIT:
                    detail = f"the event has {len(lines)} bytes as JSON, a chunk has room for {PIECE_LIMIT}"
                    rejects.append(Reject(Reason.RECORD_TOO_LARGE, detail, lines))
                else:
                    number = len(pieces)
                    piece = Piece(
                        shard=at, post=post, batching=batching, number=number, events=count, event_lines=lines
                    )
                    pieces.append(piece)
    if rejects:
        at = crc32(post.receipt.encode()) % shards
        for number, (letters, lines) in enumerate(_letter_blocks(rejects, post, version), len(pieces)):
            piece = Piece(
                shard=at, post=post, batching=batching, number=number, dead_letters=letters, dead_letter_lines=lines
            )
            pieces.append(piece)
    post.accepted = len(harvest.events) + len(harvest.rejects)
    post.unreadable = len(rejects)
    return pieces


def _blocks(events: list[Event], limit: int) -> Iterator[tuple[int, bytes]]:
    """Write events as lines, in blocks within a limit, unless a single one is not: ``(events, lines)`` each."""
    lines = _encoder.encode_lines(events)
    if len(lines) <= limit or len(events) == 1:
        yield len(events), lines
        return
    half = len(events) // 2
    yield from _blocks(events[:half], limit)
    yield from _blocks(events[half:], limit)


def _letter_blocks(rejects: Sequence[Reject], post: Post, version: str) -> Iterator[tuple[int, bytes]]:
    """Write dead letters as lines, in blocks that fit a piece: ``(dead letters that begin there, lines)`` each."""
    block: list[bytes] = []
    size = firsts = 0
    for letter in _dead_letters(rejects, post, version):
        line = orjson.dumps(letter, option=orjson.OPT_APPEND_NEWLINE)
        if block and size + len(line) > PIECE_LIMIT:
            yield firsts, b"".join(block)
            block, size, firsts = [], 0, 0
        block.append(line)
        size += len(line)
        firsts += letter["part"] == 0
    yield firsts, b"".join(block)


def _dead_letters(rejects: Sequence[Reject], post: Post, version: str) -> Iterator[DeadLetter]:
    for number, reject in enumerate(rejects):
        for part, parts, raw_base64 in split(reject.raw):
            yield {
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
            "part": piece.number,
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
