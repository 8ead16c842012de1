"""The recorded payloads through the installed command: whatever their order, form and batches, the same rows."""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import aiohttp
import pytest

from tests.eventually import eventually
from tests.traffic.running import RunningPipeline
from tests.traffic.topics import latest_values

PAYLOADS = Path(__file__).parents[1] / "payloads" / "customers-mail-cloud"
LIFECYCLES = PAYLOADS.with_suffix(".lifecycles.json")
"""What all of them together must make."""
NOT_SENT = "deliveries-v1.json"
"""A decoded view of event-v1.form; version 1 of the webhook knows no JSON."""
JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
SEED = 20230125

Post = tuple[str, bytes]


def recorded() -> list[Post]:
    """The payloads byte for byte."""
    paths = sorted(path for path in PAYLOADS.iterdir() if ".events" not in path.suffixes and path.name != NOT_SENT)
    types = {".json": JSON_TYPE, ".form": FORM_TYPE}
    return [(types[path.suffix], path.read_bytes()) for path in paths]


def otherwise(posts: Iterable[Post]) -> list[Post]:
    """The same events in other batches, JSON as forms and forms as JSON."""
    one_by_one = [post for content in map(contents, posts) for post in singles(content)]
    return [*one_by_one, *together(map(contents, posts))]


def contents(post: Post) -> dict[str, Any]:
    """Take a post apart into its top-level parameters, with the event as an object."""
    content_type, body = post
    if content_type == JSON_TYPE:
        return dict(json.loads(body))
    form = dict(parse_qsl(body.decode(), keep_blank_values=True))
    return {**form, "event": json.loads(form["event"])}


def singles(content: Mapping[str, Any]) -> list[Post]:
    kind = content["event_type"]
    return [as_form({**content, "event": {kind: [record]}}) for record in content["event"][kind]]


def together(all_contents: Iterable[Mapping[str, Any]]) -> list[Post]:
    """Put what may share a post into one: the same kind and composition, and version 2, which alone knows JSON."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for content in all_contents:
        kind = content["event_type"]
        groups.setdefault((kind, content["server_composition"]), []).extend(content["event"][kind])
    return [
        as_json({"event_type": kind, "server_composition": composition, "event": {kind: records}})
        for (kind, composition), records in groups.items()
    ]


def as_form(content: Mapping[str, Any]) -> Post:
    text = {**content, "event": json.dumps(content["event"], ensure_ascii=False)}
    return FORM_TYPE, urlencode(text).encode()


def as_json(content: Mapping[str, Any]) -> Post:
    return JSON_TYPE, json.dumps(content, ensure_ascii=False).encode()


async def send_all(pipeline: RunningPipeline, posts: Iterable[Post]) -> int:
    """Post all and give the number of accepted events."""
    accepted = 0
    async with aiohttp.ClientSession() as session:
        for content_type, body in posts:
            headers = {"Content-Type": content_type}
            async with session.post(pipeline.webhooks, data=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                accepted += (await answer.json())["accepted"]
    return accepted


def expected_events() -> dict[str, Any]:
    files = [json.loads(path.read_text()) for path in PAYLOADS.glob("*.events.json")]
    return {event["id"]: event for events in files for event in events}


def expected_lifecycles() -> list[Any]:
    return list(json.loads(LIFECYCLES.read_text()))


async def events_in_clickhouse(pipeline: RunningPipeline) -> dict[str, Any]:
    rows = await pipeline.select(
        "select * except (received_at, receipt) from mail.events settings date_time_output_format = 'iso'"
    )
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


async def lifecycles_in_clickhouse(pipeline: RunningPipeline) -> list[Any]:
    return await pipeline.select(
        "select * from mail.lifecycles order by source, message_id, recipient settings date_time_output_format = 'iso'"
    )


async def lifecycles_on_the_topic(pipeline: RunningPipeline) -> list[Any]:
    values = await latest_values(pipeline.kafka, "mail.lifecycles")
    return [json.loads(values[key]) for key in sorted(values)]


@pytest.mark.timeout(300)
async def test_any_order_number_form_and_batching_gives_the_expected_rows(tmp_path: Path) -> None:
    posts = recorded()
    async with RunningPipeline(tmp_path / "data") as pipeline:
        accepted = await send_all(pipeline, posts)
        await is_as_expected(pipeline, accepted)

        shuffled = [*posts, *otherwise(posts)] * 2
        random.Random(SEED).shuffle(shuffled)  # noqa: S311 - any order will do
        accepted += await send_all(pipeline, shuffled)
        await is_as_expected(pipeline, accepted)
        assert await pipeline.stop() == 0

        # A second start finds its data and recognises what it has seen.
        await pipeline.start()
        accepted += await send_all(pipeline, shuffled)
        await is_as_expected(pipeline, accepted)
        assert await pipeline.stop() == 0
        assert not (pipeline.data / "run.json").exists()


@pytest.mark.timeout(300)
async def test_the_worst_order_first_gives_the_same_rows(tmp_path: Path) -> None:
    posts = list(reversed([*recorded(), *otherwise(recorded())]))
    async with RunningPipeline(tmp_path / "data") as pipeline:
        await is_as_expected(pipeline, await send_all(pipeline, posts))


async def is_as_expected(pipeline: RunningPipeline, accepted: int) -> None:
    code, said = await pipeline.audit()
    assert code == 0, said
    (books,) = await pipeline.select("select sum(accepted) as accepted, sum(`unique`) as `unique` from mail.receipts")
    expected = expected_events()
    assert books == {"accepted": accepted, "unique": len(expected)}
    assert await events_in_clickhouse(pipeline) == expected
    assert await lifecycles_in_clickhouse(pipeline) == expected_lifecycles()
    await eventually(lambda: lifecycles_on_the_topic(pipeline), lambda found: found == expected_lifecycles())
