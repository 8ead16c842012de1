"""Where in the inbox the parts of a post arrived, and where a part that did not arrive should be."""

from collections.abc import Mapping, Sequence
from typing import Any

from deploy.tables import Tables
from streams.contracts.receipts import SEQUENCE_DIGITS

NEAR = 1000
"""Posts of the same ingest process before and after one that show where its neighbours are in the log."""

NEIGHBOURS = """
select
    place.shard as shard,
    maxOrNullIf(place.offset, receipt < {receipt:String}) as before,
    minOrNullIf(place.offset, receipt > {receipt:String}) as behind
from receipt_parts
array join places as place
where receipt between {first:String} and {last:String} and receipt != {receipt:String}
group by shard
order by shard
"""


async def located(tables: Tables, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write the places of receipts' rows as ``shard:offset``, and add ``near``: where missing parts should be.

    What is missing may be on any shard. Posts of one ingest process are written nearly in the order of their numbers,
    so the offsets of its neighbours bound where the parts belong.
    """
    told = []
    for row in rows:
        places = row.pop("places")
        at = sorted({(place["shard"], place["offset"]) for place in places})
        arrived = ", ".join(f"{shard}:{offset}" for shard, offset in at)
        near = ", ".join(map(_interval, await _neighbours(tables, str(row["receipt"]))))
        told.append({**row, "arrived": arrived, "near": near})
    return told


async def _neighbours(tables: Tables, receipt: str) -> list[dict[str, Any]]:
    instance, digits = receipt[:-SEQUENCE_DIGITS], receipt[-SEQUENCE_DIGITS:]
    try:
        number = int(digits, 16)
    except ValueError:
        return []
    first, last = (f"{instance}{max(0, at):0{SEQUENCE_DIGITS}x}" for at in (number - NEAR, number + NEAR))
    return await tables.rows(NEIGHBOURS, receipt=receipt, first=first, last=last)


def _interval(row: Mapping[str, Any]) -> str:
    before, behind = ("" if row[name] is None else row[name] for name in ("before", "behind"))
    return f"{row['shard']}:{before}..{behind}"
