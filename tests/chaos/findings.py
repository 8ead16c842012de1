"""What the judge finds wrong, counted by kind, with some examples of each."""

from collections import Counter
from dataclasses import dataclass, field

EXAMPLES = 5
"""Of each kind that are kept."""

LOST = "lost"
TWICE = "counted twice"
FOREIGN = "never sent"
LIFECYCLES = "lifecycles wrong"
SUPPRESSIONS = "suppressions wrong"
RECEIPTS = "receipts wrong"
ROLLUPS = "rollups wrong"
TOPICS = "topics wrong"
DEAD = "dead letters"
REFUSED = "wrong answers"
AUDIT = "audit wrong"
STUCK = "stuck"
RESOURCES = "resources unbounded"

KINDS = (
    LOST, TWICE, FOREIGN, LIFECYCLES, SUPPRESSIONS, RECEIPTS, ROLLUPS, TOPICS, DEAD, REFUSED, AUDIT, STUCK, RESOURCES,
)  # fmt: skip


@dataclass(slots=True)
class Findings:
    """Everything that is wrong; empty if nothing is."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def note(self, kind: str, example: object) -> None:
        """Count one more of a kind."""
        self.counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(str(example))

    def __bool__(self) -> bool:
        return self.counts.total() > 0
