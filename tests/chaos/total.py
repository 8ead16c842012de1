"""Adds up the results of many runs.

    python -m tests.chaos.total FILE…

Each file holds the lines that `--results` wrote. Exit code 1 if any of the runs failed.
"""

import sys
from pathlib import Path

import orjson

from tests.chaos.report import total


def main() -> int:
    results = [
        orjson.loads(line) for name in sys.argv[1:] for line in Path(name).read_bytes().splitlines() if line.strip()
    ]
    print(total(results))
    return int(any(result["verdict"] != "passed" for result in results))


if __name__ == "__main__":
    sys.exit(main())
