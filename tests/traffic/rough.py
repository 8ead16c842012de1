"""Mail histories with what real traffic has at its edges, on top of `tests.traffic.mails.history`.

Several recipients of one message, late bounces, ties of one second, texts that differ between the events of a mail,
texts that look like the pipeline's own marks, statuses of later days, the provider's block list.
"""

import random
from collections.abc import Iterator

from tests.traffic.chance import chance
from tests.traffic.mails import Moment, history, local

SIX_WEEKS = 42 * 86_400.0
ODD_TEXTS = (
    'he said "no", twice\\',
    '","~":[["x"],[0]]}',
    "line one\r\nline two\ttab",
    "絵文字 \U0001f4e7 と \u2028 改行",
    "{'not': json}",
    "a\x1fb\x00c",
)
NAMED_SENDERS = ("Shop <Info@Shop.Example.COM>", "no-address", "info@example.com", "")
CODES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "99", "77")
"""All that are documented, and one of a later day."""


def rough_history(seed: object, number: int) -> Iterator[Moment]:
    """Yield what happens to one mail, in the order of time; no two moments of a mail have equal records."""
    draw = chance("rough", seed, number)
    moments = list(history(number, draw))
    if draw.random() < 0.1:
        moments += [_to_other(moment, f"other{number}@Example.Org") for moment in moments]
    if draw.random() < 0.1:
        moments = [_differing(moment, draw) for moment in moments]
    if draw.random() < 0.1:
        moments += _ties(moments[-1], draw)
    if draw.random() < 0.08:
        moments.append(_late_bounce(moments[-1], draw))
    if draw.random() < 0.02:
        moments.append(_of_later_days(moments[-1]))
    yield from moments
    if draw.random() < 0.03:
        yield from _block_list(number, moments[-1].at, draw)


def _to_other(moment: Moment, recipient: str) -> Moment:
    return moment._replace(record={**moment.record, "to": recipient})


def _differing(moment: Moment, draw: random.Random) -> Moment:
    record = dict(moment.record)
    record["from"] = draw.choice(NAMED_SENDERS)
    record["subject"] = draw.choice((*ODD_TEXTS, record["subject"], ""))
    record["apiData"] = draw.choice((*ODD_TEXTS, record["apiData"], ""))
    if record["reason"]:
        record["reason"] = f"{record['reason']} {draw.choice(ODD_TEXTS)}"
    return moment._replace(record=record)


def _ties(last: Moment, draw: random.Random) -> Iterator[Moment]:
    """Several events of one kind within one second, which their texts alone tell apart."""
    status = draw.choice(("deferred", "failed", *CODES))
    for count in range(draw.randint(2, 4)):
        reason = f"tie {count} {draw.getrandbits(32):x}"
        yield _told(last, last.at, status, reason, subject=f"subject {reason}")


def _late_bounce(last: Moment, draw: random.Random) -> Moment:
    return _told(last, last.at + SIX_WEEKS * draw.random(), draw.choice(CODES), "late bounce")


def _of_later_days(last: Moment) -> Moment:
    return _told(last, last.at + 1, "opened", "a status that nobody knows yet")._replace(type="unknown")


def _told(last: Moment, at: float, status: str, reason: str, **other: str) -> Moment:
    record = {**last.record, "created": local(at), "status": status, "reason": reason, **other}
    if status.isdigit():
        record = {name: text for name, text in record.items() if name not in {"sourceIp", "senderIp"}}
        return Moment(at, "bounced", "bounces", record)
    return Moment(at, status, "deliveries", {"sourceIp": "", "senderIp": "", **record})


def _block_list(number: int, at: float, draw: random.Random) -> Iterator[Moment]:
    """An address that is blocked, lifted and blocked again for some turns, seconds apart."""
    address = f"blocked{number}@Example.jp"
    for turn in range(draw.randint(1, 4)):
        at += draw.choice((0.0, 1.0)) if turn % 2 else draw.choice((1.0, 3600.0))
        status, type_ = (("registered", "blocked"), ("deleted", "unblocked"))[turn % 2]
        yield Moment(at, type_, "blocks", {"created": local(at), "email": address, "status": status})
