"""Which partition an event belongs to: the same function everywhere, written once."""

from zlib import crc32

from streams.contracts.events import SUPPRESSION_TYPES
from streams.contracts.identity import SEPARATOR


def shard(source: str, event_type: str, message_id: str, recipient: str, shards: int) -> int:
    """Tell the shard of an event, which is its partition on every keyed topic.

    All events of one message share a shard, so that one worker sees its whole history. What is about an address and
    not about a mail (suppressions), and what has no message id, goes by the recipient.
    """
    key = recipient if event_type in SUPPRESSION_TYPES or not message_id else message_id
    return crc32(f"{source}{SEPARATOR}{key}".encode("utf-8", "surrogatepass")) % shards
