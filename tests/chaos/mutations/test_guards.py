"""Each guard taken out of a copy of the code: the judge must see what it is for.

Not part of `make test`: a run for each guard takes a minute. `make mutations` runs them.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos import findings as kinds
from tests.chaos.campaign import Campaign, Form, Options
from tests.chaos.plan import EVERYTHING, Fault, Kind
from tests.chaos.proxy import Weather

ROOT = Path(__file__).parents[3]
PACKAGES = ("ingest", "streams", "sinks", "deploy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutation:
    """One guard, how to take it out, and what follows."""

    files: str
    """Pattern; each file that has the words is changed, and one must."""
    words: str
    instead: str
    plan: tuple[Fault, ...]
    seen_as: frozenset[str]
    """Any of these must be found."""
    form: Form = Form.UP


def several(kind: Kind, victim: str, *moments: float) -> tuple[Fault, ...]:
    return tuple(Fault(at=at, kind=kind, victim=victim) for at in moments)


UNANSWERED = Fault(
    at=3.0, kind=Kind.NETWORK, victim=EVERYTHING, server="clickhouse", weather=Weather.UNANSWERED, seconds=6.0
)

MUTATIONS = {
    "the stamp of an answer is not looked at": Mutation(
        files="streams/contracts/chain.py",
        words="counts = self._continues(link)",
        instead="counts = True",
        plan=several(Kind.STALE_ANSWER, "worker", 4, 6, 8, 9),
        seen_as=frozenset({kinds.TWICE, kinds.TOPICS}),
    ),
    "known events are not recognised": Mutation(
        files="streams/lifecycle.py",
        words="rank.endswith(event.id)",
        instead="False",
        plan=several(Kind.TERMINATE, "sink-topics", 5),
        seen_as=frozenset({kinds.TWICE}),
    ),
    "a block's name is another one at each try": Mutation(
        files="sinks/clickhouse/writer.py",
        words='"insert_deduplication_token": f"{table}:{name}"',
        instead='"insert_deduplication_token": f"{table}:{name}:{asyncio.get_running_loop().time()}"',
        plan=(UNANSWERED,),
        seen_as=frozenset({kinds.TWICE}),
        form=Form.FLEET,
    ),
    "what is intended is not written down": Mutation(
        files="sinks/intent.py",
        words="intents = {block.partition: block.before for block in blocks if block.records}",
        instead="intents: dict[int, Position] = {}",
        plan=(
            UNANSWERED,
            *several(Kind.KILL, "sink-clickhouse-1", 6.5, 9),
            *several(Kind.KILL, "sink-clickhouse-2", 6.5, 9),
        ),
        seen_as=frozenset({kinds.TWICE}),
        form=Form.FLEET,
    ),
    "a post is answered before its events are durable": Mutation(
        files="ingest/publisher.py",
        words="await asyncio.wait({sending, ended}, return_when=asyncio.FIRST_COMPLETED)",
        instead="return",
        plan=several(Kind.KILL, "kafka", 4) + several(Kind.KILL, "ingest", 4.5, 8),
        # Its events may have come with another post, that repeats them: then the receipt alone tells.
        seen_as=frozenset({kinds.LOST, kinds.RECEIPTS}),
    ),
    "a part of a post counts each time it comes": Mutation(
        files="sinks/clickhouse/schema/*.sql",
        words="if(is_plain, 0, arraySum(copies.events)) as copied",
        instead="0 as copied",
        plan=several(Kind.REDELIVERY, "worker", 4, 6, 8, 9),
        seen_as=frozenset({kinds.RECEIPTS}),
    ),
    # Not at all would not do: a place that is lost is recognised by what was published.
    "the place in the outbox moves with the first records alone": Mutation(
        files="sinks/topics.py",
        words="await self._move(producer, block.partition, after)",
        instead=("if tally.rows <= block.events:\n                await self._move(producer, block.partition, after)"),
        plan=several(Kind.KILL, "sink-topics", 6),
        seen_as=frozenset({kinds.TOPICS}),
    ),
    "Kafka acknowledges what is not on the disk": Mutation(
        files="deploy/embedded/kafka/properties.py",
        words='"log.flush.interval.messages": 1,',
        instead="",
        plan=several(Kind.POWER, EVERYTHING, 6),
        seen_as=frozenset({kinds.LOST}),
    ),
    "the journal acknowledges what is not on the disk": Mutation(
        files="ingest/journal/store.py",
        words="pragma synchronous = full",
        instead="pragma synchronous = off",
        plan=(*several(Kind.KILL, "kafka", 4), *several(Kind.POWER, EVERYTHING, 6)),
        seen_as=frozenset({kinds.LOST}),
    ),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTATIONS)
async def test_the_judge_sees_what_a_guard_is_for(tmp_path: Path, name: str) -> None:
    mutation = MUTATIONS[name]
    mutate(tmp_path / "code", mutation)
    (tmp_path / "run").mkdir()
    options = Options(
        rounds=1,
        events=1_500,
        seconds=10.0,
        form=mutation.form,
        plan=mutation.plan,
        idle_within=60.0,  # what is lost never comes
        code=tmp_path / "code",
    )

    outcome = await Campaign(tmp_path / "run", 1, options).run()

    assert mutation.seen_as & {kind for kind, count in outcome.found.counts.items() if count}, outcome.found


def mutate(folder: Path, mutation: Mutation) -> None:
    """Copy the packages, and take the guard out of the copy."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    changed = 0
    for file in folder.glob(mutation.files):
        text = file.read_text(encoding="utf-8")
        changed += mutation.words in text
        file.write_text(text.replace(mutation.words, mutation.instead), encoding="utf-8")
    assert changed, f"no file {mutation.files} has the words of the guard any more: {mutation.words}"
