"""What a query did, in the numbers that ClickHouse tells its clients."""

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The counts of one query, final unless it says otherwise."""

    read_rows: int = 0
    """Rows that were read from tables."""

    read_bytes: int = 0
    written_rows: int = 0
    """Rows that were written, into materialized views as well."""

    written_bytes: int = 0
    result_rows: int = 0
    """Rows of the result; of an INSERT the rows written."""

    result_bytes: int = 0
    elapsed_ns: int = 0

    @classmethod
    def of(cls, result: Any, elapsed_ns: int) -> "Progress":
        """Take the counts from chDB's result, whose ``rows_read`` counts the rows of the result."""
        return cls(
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            result_rows=result.rows_read() or result.rows_written(),
            result_bytes=result.bytes_read() or result.bytes_written(),
            elapsed_ns=elapsed_ns,
        )

    def summary(self) -> str:
        """Write it as in the header ``X-ClickHouse-Summary``: all numbers are strings there."""
        counts = {
            "read_rows": self.read_rows,
            "read_bytes": self.read_bytes,
            "written_rows": self.written_rows,
            "written_bytes": self.written_bytes,
            "total_rows_to_read": self.read_rows,
            "result_rows": self.result_rows,
            "result_bytes": self.result_bytes,
            "elapsed_ns": self.elapsed_ns,
        }
        return orjson.dumps({name: str(count) for name, count in counts.items()}).decode()
