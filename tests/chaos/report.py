"""What is printed and written down of a run."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.chaos import findings as kinds
from tests.chaos.campaign import Outcome

MIB = 1024 * 1024


def result(outcome: Outcome) -> dict[str, Any]:
    """Write one seed's outcome as a JSON document, which `tests.chaos.total` can add up."""
    tally, sight = outcome.tally, outcome.sight
    return {
        "seed": outcome.seed,
        "form": outcome.form,
        "verdict": "failed" if outcome.found else "passed",
        "rounds": outcome.rounds,
        "seconds": round(outcome.seconds, 1),
        "kills": tally.kills,
        "faults": dict(sorted(tally.faults.items())),
        "events": {
            "accepted": len(outcome.ledger.accepted),
            "offered": len(outcome.ledger.offered),
            "rows": outcome.rows,
        },
        "posts": len(outcome.ledger.receipts),
        "answers": dict(sorted(outcome.ledger.answers.items())),
        "found": {kind: outcome.found.counts[kind] for kind in kinds.KINDS},
        "examples": outcome.found.examples,
        "longest_stand": round(sight.longest_stand, 1),
        "recoveries": [round(seconds, 1) for seconds in tally.recoveries],
        "failed_starts": len(tally.failed_starts),
        "overdue": outcome.overdue,
        "failed_start_words": [words[-600:] for words in tally.failed_starts[:3]],
        "memory": sight.memory,
        "files": sight.files,
    }


def total(results: Sequence[Mapping[str, Any]]) -> str:
    """Sum up any number of results as tables."""
    faults = _sum(result["faults"] for result in results)
    found = _sum(result["found"] for result in results)
    answers = _sum(result["answers"] for result in results)
    recoveries = sorted(seconds for result in results for seconds in result["recoveries"])
    failed = [result["seed"] for result in results if result["verdict"] != "passed"]
    lines = [
        *_table("fault", ("count",), [(name, count) for name, count in sorted(faults.items())]),
        "",
        *_table("answer to a post", ("count",), [(name, count) for name, count in sorted(answers.items())]),
        "",
        *_table(
            "over all",
            ("",),
            [
                ("seeds", len(results)),
                ("rounds", sum(result["rounds"] for result in results)),
                ("minutes", round(sum(result["seconds"] for result in results) / 60, 1)),
                ("processes killed", sum(result["kills"] for result in results)),
                ("events accepted", sum(result["events"]["accepted"] for result in results)),
                ("events in the table", sum(result["events"]["rows"] for result in results)),
                ("posts answered 200", sum(result["posts"] for result in results)),
                *((kind, found[kind]) for kind in kinds.KINDS),
                ("longest time without progress, s", max((result["longest_stand"] for result in results), default=0)),
                ("recovery p50, s", quantile(recoveries, 0.5)),
                ("recovery p99, s", quantile(recoveries, 0.99)),
                ("ends that took too long", sum(len(result.get("overdue", ())) for result in results)),
                ("starts that failed", sum(result["failed_starts"] for result in results)),
            ],
        ),
        "",
        *_table("part", ("peak MiB", "peak files"), _sizes(results)),
        "",
        f"FAILED: seeds {', '.join(map(str, failed))}" if failed else "passed: nothing lost, nothing counted twice",
    ]
    return "\n".join(lines)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Give the value that this share of the values does not exceed; 0 where there are none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    summed: Counter[str] = Counter()
    for count in counts:
        summed.update(count)
    return summed


def _sizes(results: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    parts = sorted({part for result in results for part in result["memory"]})
    return [
        (
            part,
            max(result["memory"].get(part, 0) for result in results) // MIB,
            max(result["files"].get(part, 0) for result in results),
        )
        for part in parts
    ]


def _table(first: str, columns: Sequence[str], cells: Iterable[Sequence[Any]]) -> list[str]:
    head = f"{first:<36}" + "".join(f"{column:>14}" for column in columns)
    return [head, *(f"{row[0]:<36}" + "".join(f"{_figure(cell):>14}" for cell in row[1:]) for row in cells)]


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
