"""The corners of a lifecycle."""

import msgspec
import orjson
import pytest

from streams import lifecycle
from streams.contracts.sections import public_lifecycle
from streams.lifecycle import Event, Lifecycle
from tests.chunks import make_event


def absorbed(*events: dict[str, str]) -> Lifecycle:
    mail = Lifecycle("cmc", "one@example.com", "user@example.jp")
    for event in events:
        mail.absorb(msgspec.convert(make_event(**event), Event))
    return mail


def test_a_delivery_before_its_queueing_took_negative_time() -> None:
    """Clocks of different machines say so."""
    mail = absorbed(
        {"type": "delivered", "occurred_at": "2026-03-02T00:00:00.500Z"},
        {"type": "queued", "occurred_at": "2026-03-02T00:00:02.001Z"},
    )
    assert mail.delivery_seconds == -1.501


def test_seconds_have_three_decimals() -> None:
    mail = absorbed(
        {"type": "queued", "occurred_at": "2026-03-02T00:00:00.100Z"},
        {"type": "delivered", "occurred_at": "2026-03-02T00:00:00.400Z"},
    )
    assert b'"delivery_seconds":0.3,' in lifecycle.render(mail)


def test_a_time_that_is_none_costs_only_the_duration() -> None:
    mail = absorbed(
        {"type": "queued", "occurred_at": "2026-99-99T00:00:00.100Z"},
        {"type": "delivered", "occurred_at": "2026-03-02T00:00:00.400Z"},
    )
    assert mail.delivery_seconds is None
    assert mail.events == 2


def test_a_bounce_that_follows_a_delivery_wins_and_the_delivery_stays() -> None:
    mail = absorbed(
        {"type": "bounced", "occurred_at": "2026-04-15T00:00:00.000Z"},
        {"type": "delivered", "occurred_at": "2026-03-02T00:00:00.000Z"},
    )
    assert (mail.state, mail.delivered_at) == ("bounced", "2026-03-02T00:00:00.000Z")


def test_the_workers_own_part_is_last_and_not_public() -> None:
    line = lifecycle.render(absorbed({"subject": 'a,"~":b'}))
    assert list(orjson.loads(line))[-1] == "~"
    assert list(orjson.loads(public_lifecycle(line)))[-1] == "delivery_seconds"


def test_a_line_survives_reading_and_writing() -> None:
    mail = absorbed({"type": "failed", "reason": "x"}, {"type": "bounced", "reason": "y"}, {"type": "queued"})
    line = lifecycle.render(mail)
    assert lifecycle.render(lifecycle.parse(line)) == line


@pytest.mark.parametrize("type_", list(lifecycle.SEVERITY))
@pytest.mark.parametrize("empty", [(), ("sender",), ("subject", "api_data"), ("composition", "reason", "bounce_code")])
def test_to_begin_a_lifecycle_is_to_absorb_an_event_into_an_empty_one(type_: str, empty: tuple[str, ...]) -> None:
    texts = ("sender", "subject", "api_data", "composition", "reason", "bounce_code", "bounce_class", "bounce_reason")
    fields = {"type": type_, **{name: "" if name in empty else f"the {name}" for name in texts}}
    event = msgspec.convert(make_event(**fields), Event)
    begun = lifecycle.begin(event)
    assert lifecycle.render(begun) == lifecycle.render(absorbed(fields))
    assert not begun.absorb(event)


@pytest.mark.parametrize("type_", ["queued", "deferred", "delivered", "failed", "bounced"])
def test_every_type_has_its_time(type_: str) -> None:
    mail = absorbed({"type": type_})
    assert [name for name in lifecycle.EARLIEST.values() if getattr(mail, name)] == [lifecycle.EARLIEST[type_]]
    assert mail.state == type_


class Counted(str):
    """A rank that counts how often it is looked at in the search for an event."""

    __slots__ = ()
    looks = 0

    def endswith(self, *arguments: object) -> bool:
        Counted.looks += 1
        return super().endswith(*arguments)  # type: ignore[arg-type]  # as they came


def test_a_mail_with_very_many_events_is_not_looked_through_for_each_of_them() -> None:
    """Twenty thousand of them took fourteen seconds."""
    many = [
        msgspec.convert(
            make_event(type="deferred", reason=str(number), occurred_at=f"2026-03-02T00:{number // 60:02d}:00.000Z"),
            Event,
        )
        for number in range(3 * lifecycle.MANY)
    ]
    mail = lifecycle.begin(many[0])
    assert [mail.absorb(event) for event in many] == [False] + [True] * (len(many) - 1)
    mail = lifecycle.parse(lifecycle.render(mail))
    mail.own.ranks = [Counted(rank) for rank in mail.own.ranks]
    more = msgspec.convert(make_event(type="delivered"), Event)

    assert [mail.absorb(event) for event in (*many, more, more)] == [False] * len(many) + [True, False]
    assert Counted.looks == 0
    mail.own.ranks = list(map(str, mail.own.ranks))
    assert mail.events == len(many) + 1
    assert lifecycle.render(lifecycle.parse(lifecycle.render(mail))) == lifecycle.render(mail)
