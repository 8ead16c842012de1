"""Breaks a pipeline in every way, and judges whether anything was lost or counted twice. See docs/chaos.md.

    make chaos                             three rounds with seed 1
    make chaos SEED=7 ROUNDS=5
    make chaos MINUTES=60                  seed after seed for an hour
    python -m tests.chaos --todoke /usr/local/bin/todoke

Exit code 1 if the judge finds anything. The data and logs of a run that failed are kept, and named.
"""

import argparse
import asyncio
import json
import logging
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from deploy.event_loop import new_event_loop
from tests.chaos.campaign import Campaign, Form, Options
from tests.chaos.findings import STUCK
from tests.chaos.plan import Kind
from tests.chaos.report import result, total
from tests.traffic.running import INSTALLED


def main() -> int:
    given = _arguments()
    options = Options(
        rounds=given.rounds,
        events=given.events,
        seconds=given.seconds,
        pause=given.pause,
        form=given.form,
        kinds=tuple(Kind[name] for name in given.kinds),
        todoke=given.todoke,
    )
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that Kafka is away is what is wanted here
    results: list[dict[str, Any]] = []
    began = time.monotonic()
    seed = given.seed
    while not results or time.monotonic() - began < given.minutes * 60:
        results.append(_one_seed(seed, options, given.results))
        seed += 1
    if len(results) > 1:
        say(f"\n{total(results)}")
    return int(any(one["verdict"] != "passed" for one in results))


def _one_seed(seed: int, options: Options, file: Path | None) -> dict[str, Any]:
    form = options.form_of(seed)
    say(f"seed {seed}, {form}: {options.rounds} rounds of {options.events:,} events and {options.seconds:g} s")
    folder = Path(tempfile.mkdtemp(prefix=f"todoke-chaos-{seed}-"))
    campaign = Campaign(folder, seed, options)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(campaign.run())
    except Exception:  # noqa: BLE001 - a machine that breaks proves nothing; the next seed may
        campaign.outcome.found.note(STUCK, f"the machine itself failed: {traceback.format_exc()[-3000:]}")
    outcome = campaign.outcome
    document = result(outcome)
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(document, ensure_ascii=False) + "\n")
    say(total([document]))
    if not outcome.found:
        shutil.rmtree(folder)
        return document
    for kind, examples in outcome.found.examples.items():
        say(f"\n{kind}:")
        for example in examples:
            say(f"  {example}")
    say(f"\ndata and logs are kept in {folder}")
    return document


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="the first one (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="on the same data (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=0, help="go on with the next seeds until then")
    parser.add_argument("--events", type=int, default=10_000, help="unique ones in a round (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=40, help="of traffic in a round (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=3, help="seconds between faults (default: %(default)s)")
    parser.add_argument("--form", type=Form, choices=list(Form), help="`todoke up` or a fleet (default: in turns)")
    parser.add_argument(
        "--kinds", nargs="+", default=(), choices=[kind.name for kind in Kind], help="only these faults"
    )
    parser.add_argument("--todoke", type=Path, default=INSTALLED, help="the command (default: %(default)s)")
    parser.add_argument("--results", type=Path, help="file to which each seed adds a line of JSON")
    return parser.parse_args()


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
