"""The books, read again and again: as metrics, and as readiness."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from deploy.audit import Books, audit
from deploy.settings import Settings
from deploy.span import Span, span
from streams.contracts import metrics
from streams.contracts.clock import Clock, Deadline, SystemClock, rfc3339
from streams.contracts.errors import TodokeError

logger = logging.getLogger(__name__)

STATUSES = ("balanced", "missing", "excess", "unanswered")


class AuditRole:
    """Audits every some seconds; implements `streams.contracts.role.Role`.

    Ready while the last audit found the books in balance, or lacking only what is still under way.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        every: float,
        since: str | None,
        settled: float,
        clock: Clock | None = None,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """Describe it.

        Args:
            settings: where Kafka and ClickHouse are.
            every: seconds from the end of an audit to the beginning of the next one.
            since: the beginning of what is looked at, as on the command line; mostly how long ago.
            settled: seconds; younger posts may be under way and are left for the next time.
            clock: the system's unless told otherwise.
            registry: where the metrics are kept.
        """
        self._settings = settings
        self._every = every
        self._since = since
        self._settled = timedelta(seconds=settled)
        self._clock = clock or SystemClock()
        self._stopping = asyncio.Event()
        self._books: Books | None = None
        self._trouble: str | None = "the first audit has not ended yet"
        self._audited_at: str | None = None
        self._receipts, self._balanced, self._absent, self._behind, self._seconds, self._time = (
            Gauge(metric.name, metric.help, metric.labels, registry=registry)
            for metric in (
                metrics.BOOKS_RECEIPTS,
                metrics.BOOKS_BALANCED,
                metrics.BOOKS_MISSING_EVENTS,
                metrics.BOOKS_BEHIND,
                metrics.BOOKS_AUDIT_SECONDS,
                metrics.BOOKS_AUDITED_AT,
            )
        )

    async def start(self) -> None:
        """Return at once: the first audit may well fail while the servers start."""

    async def wait(self) -> None:
        """Audit until stopped."""
        while not self._stopping.is_set():
            await self._audit()
            try:
                async with asyncio.timeout(self._every):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - nothing takes time here
        """End after the audit that is under way."""
        self._stopping.set()

    async def until_idle(self) -> None:
        """Return at once."""

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell what the last audit found."""
        books = self._books
        if books is None or self._trouble is not None:
            return False, {"audited_at": self._audited_at, "trouble": self._trouble}
        is_ready = books.is_open or not books.problems()
        return is_ready, {"audited_at": self._audited_at, **document(books)}

    async def _audit(self) -> None:
        began = self._clock.monotonic()
        now = self._clock.now()
        try:
            wanted = Span(since=span(self._since, None, now).since, until=now - self._settled)
            books = await audit(self._settings, wait=0, clock=self._clock, span=wanted)
        except TodokeError as error:
            if self._trouble is None:
                logger.warning("the books cannot be read: %s", error)
            self._trouble = str(error)
            return
        problems = books.problems()
        if problems and (self._books is None or problems != self._books.problems()):
            logger.log(logging.WARNING if books.is_open else logging.ERROR, "the books: %s", "; ".join(problems))
        self._books, self._trouble, self._audited_at = books, None, rfc3339(now)
        self._show(books, now.timestamp(), self._clock.monotonic() - began)

    def _show(self, books: Books, now: float, seconds: float) -> None:
        for status in STATUSES:
            count = books.by_status.get(status)
            self._receipts.labels(status).set(0 if count is None else count.receipts)
        missing = books.by_status.get("missing")
        found = 0 if missing is None else missing.unique + missing.duplicate + missing.dead_lettered
        self._absent.set(0 if missing is None else missing.accepted - found)
        for stage in books.stages:
            self._behind.labels(stage.name).set(stage.behind)
        self._balanced.set(not books.problems() or books.is_open)
        self._seconds.set(seconds)
        self._time.set(now)


def document(books: Books) -> dict[str, Any]:
    """Write the books as JSON."""
    problems = books.problems()
    return {
        "balanced": not problems,
        "open": books.is_open,
        "problems": problems,
        "span": str(books.span),
        "stages": [{"name": stage.name, "behind": stage.behind} for stage in books.stages],
        "total": asdict(books.total),
        "by_status": {status: asdict(count) for status, count in books.by_status.items()},
        "events": books.events,
        "dead_letters": books.dead_letters,
        "losses": books.losses,
        "refused": books.refused,
        "missing": list(books.missing),
        "rows_missing": list(books.rows_missing),
        "lost": list(books.lost),
        "topics": list(books.topics),
    }
