"""How a run that raised is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .arguments import check_count, check_delay, check_number
from .errors import ArgumentTypeError, ArgumentValueError

__all__ = ["Retry", "check_retry"]


@dataclass(frozen=True, slots=True)
class Retry:
    """How a run that raised is tried again, before the worker goes on to its next slot.

    Parameters
    ----------
    attempts
        Most attempts at a run, the first one included, at least 1; None for no limit.
    first
        Seconds before the second attempt, 0 or greater.
    factor
        By how much the delay grows with each further attempt, at least 1.
    longest
        Most seconds between two attempts, 0 or greater.
    jitter
        Most seconds that are added by chance to each delay, 0 or greater, so that many workers that
        failed together are not tried again together.

    Raises
    ------
    ArgumentTypeError
        If an argument is no number.
    ArgumentValueError
        If an argument is out of its range.
    """

    attempts: int | None = None
    first: float = 0.1
    factor: float = 2.0
    longest: float = 60.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        """Check what was given."""
        check_count(self.attempts, "attempts")
        for name in ("first", "longest", "jitter"):
            check_delay(getattr(self, name), name)
        if check_number(self.factor, "factor", "give 2.0 for example") < 1:
            message = f"factor must be at least 1, not {self.factor}; give 2.0 for example"
            raise ArgumentValueError(message)

    def allows(self, attempt: int) -> bool:
        """Return whether another attempt follows the failed attempt number `attempt` (1 is the first)."""
        return self.attempts is None or attempt < self.attempts

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after the failed attempt number `attempt` (1 is the first)."""
        try:
            grown = self.first * self.factor ** (attempt - 1)
        except OverflowError:
            grown = self.longest
        return min(self.longest, grown) + (random.uniform(0.0, self.jitter) if self.jitter else 0.0)


def check_retry(value: object, argument: str = "retry") -> Retry | None:
    """Return a Retry; a whole number stands for that many attempts, None for no retry."""
    if value is None or isinstance(value, Retry):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        message = (
            f"{argument} must be a Retry or a whole number of attempts, not {type(value).__name__} {value!r}; "
            "give retry=3 for example"
        )
        raise ArgumentTypeError(message)
    return Retry(attempts=check_count(value, argument))
