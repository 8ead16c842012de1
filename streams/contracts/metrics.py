"""The catalogue of metrics: every name once, so that dashboards and alerts can rely on it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One time series family, named as Prometheus advises: unit last, counters without ``_total`` here."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
