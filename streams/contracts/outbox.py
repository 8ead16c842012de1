"""Reading a record of the outbox: what every reader does before it asks the chain whether the record counts."""

from streams.contracts.chain import Link
from streams.contracts.codec import Record, decode
from streams.contracts.errors import FormError, LaterFormError


def read_outbox(value: bytes | None) -> tuple[Record, Link] | None:
    """Take a record of the outbox apart; ``None`` for what is no such record.

    Whoever may write to the topic can put there what he likes, and it must not end the readers. It is passed over like
    every record that does not continue the chain. If it was a record of todoke's that got damaged, what follows it does
    not continue the chain either, and is answered again by the next worker that loads the log.

    Raises:
        LaterFormError: a later version of todoke wrote it, so it may count: nobody may pass it over.
    """
    try:
        record = decode(value or b"")
        link = Link.of(record.header)
        epoch, stamp, previous = (record.header[name] for name in ("epoch", "stamp", "previous"))
    except LaterFormError:
        raise
    except (FormError, KeyError, TypeError):
        return None
    if type(epoch) is not str or type(stamp) is not int or not (previous is None or type(previous) is int):
        return None
    return record, link
