"""Cron expressions with a time zone."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo
from heapq import merge
from itertools import groupby, islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .arguments import safe_repr
from .errors import ArgumentTypeError, ArgumentValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cronsim import CronSim

__all__ = ["Cron"]


class Cron:
    """When to run, as a cron expression: ``Cron("*/5 9-17 * * mon-fri", "Europe/Berlin")``.

    Parameters
    ----------
    expression
        Five fields: minute, hour, day of month, month, day of week; with six, the first is the second. Lists, ranges,
        steps and English names are understood, also ``L`` and ``mon#2``; not ``@daily``. Several of them, with ``|``
        in between, mean the instants of each; one that is named twice is one.
    timezone
        Name of a zone of the IANA database, or a tzinfo; None is the zone of this machine. At a change to daylight
        saving time a slot that does not exist is run at the end of the gap, and one that exists twice is run
        once if the expression names its hour, as Debian's cron does it.

    Raises
    ------
    ArgumentTypeError
        If `expression` is no str, or `timezone` neither str nor tzinfo.
    ArgumentValueError
        If the expression or the zone is not understood, or no instant ever matches.

    Examples
    --------
    >>> from bgpool_jupyter import Cron
    >>> Cron("0 9 * * mon-fri").explain()
    'At 09:00 on Monday through Friday'
    >>> Cron("0 9 * * * | 30 17 * * fri").explain()
    'At 09:00 every day; at 17:30 on Friday'
    """

    __slots__ = ("expression", "zone", "zone_given")

    def __init__(self, expression: str, timezone: str | tzinfo | None = None) -> None:
        if not isinstance(expression, str):
            message = (
                f"expression must be a str, not {type(expression).__name__} {safe_repr(expression)}; "
                'give for example "*/5 * * * *"'
            )
            raise ArgumentTypeError(message)
        #: The expression as it was given.
        self.expression = expression
        #: The time zone in which it is read.
        self.zone = _zone(timezone)
        #: Whether the zone was named, and is not just this machine's.
        self.zone_given = timezone is not None
        now = datetime.now(self.zone)
        for part in _parts(expression):
            _check(part, now)

    def next_after(self, instant: float) -> float:
        """Return the first matching instant after `instant`, both UTC epoch seconds; infinity if there is none."""
        found = next(_instants(self.expression, datetime.fromtimestamp(instant, self.zone)), None)
        return math.inf if found is None else found.timestamp()

    def preview(self, count: int = 5, after: datetime | None = None) -> list[datetime]:
        """Return the next `count` matching instants after `after`, an aware datetime; None is now."""
        begin = datetime.now(self.zone) if after is None else after.astimezone(self.zone)
        return list(islice(_instants(self.expression, begin), count))

    def explain(self) -> str:
        """Return the expression in English."""
        first, *others = (str(_simulation(part, datetime.now(self.zone)).explain()) for part in _parts(self.expression))
        return "; ".join([first, *(other[:1].lower() + other[1:] for other in others)])

    def __eq__(self, other: object) -> bool:
        """Compare expression and zone."""
        return isinstance(other, Cron) and (self.expression, self.zone) == (other.expression, other.zone)

    def __hash__(self) -> int:
        """Return a hash that fits the comparison."""
        return hash((self.expression, str(self.zone)))

    def __str__(self) -> str:
        """Return the expression for people, with the zone where one was named."""
        return f"{self.expression} {self.zone}" if self.zone_given else self.expression

    def __repr__(self) -> str:
        """Return an expression that makes an equal one."""
        return f"Cron({self.expression!r}, {str(self.zone)!r})"


def _parts(expression: str) -> list[str]:
    return [part.strip() for part in expression.split("|")]


def _check(expression: str, now: datetime) -> None:
    """Refuse an expression that is not understood, or that no instant matches."""
    from cronsim import CronSimError  # noqa: PLC0415 - see _simulation

    try:
        first = next(_simulation(expression, now), None)
    except CronSimError as error:
        message = (
            f"expression {safe_repr(expression)} is no cron expression: {str(error).lower()}; "
            'give minute, hour, day, month and weekday, for example "*/5 * * * *"'
        )
        raise ArgumentValueError(message) from None
    if first is None:
        message = f"expression {safe_repr(expression)} matches no instant in the next fifty years; give another"
        raise ArgumentValueError(message)


def _instants(expression: str, begin: datetime) -> Iterator[datetime]:
    """Yield the instants after `begin` that match one of the expressions."""
    # By their timestamps: of two local times in the hour that comes twice the later one may come first. Whoever begins
    # in the second of these hours is told of slots in the first one, which have passed.
    limit = begin.timestamp()
    merged = merge(*(_simulation(part, begin) for part in _parts(expression)), key=datetime.timestamp)
    for instant, same in groupby(merged, key=datetime.timestamp):
        if instant > limit:
            yield next(same)


def _simulation(expression: str, begin: datetime) -> CronSim:
    # Imported here, so that a pool without cron expressions needs the standard library alone.
    from cronsim import CronSim  # noqa: PLC0415

    return CronSim(expression, begin)


def _zone(timezone: object) -> tzinfo:
    if timezone is None:
        from tzlocal import get_localzone  # noqa: PLC0415 - see _simulation

        return get_localzone()
    if isinstance(timezone, tzinfo):
        return timezone
    if not isinstance(timezone, str):
        message = (
            f"timezone must be a str or a tzinfo, not {type(timezone).__name__} {safe_repr(timezone)}; "
            'give for example "Europe/Berlin"'
        )
        raise ArgumentTypeError(message)
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f'timezone {safe_repr(timezone)} is not known; give a name such as "Europe/Berlin" or "UTC"'
        raise ArgumentValueError(message) from None
