"""Durations and instants as people write them in magics: ``500ms``, ``1m30s``, ``14:30``, ISO 8601."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

from ..engine.errors import ArgumentValueError

__all__ = ["is_duration", "parse_duration", "parse_instant", "write_duration"]

#: Seconds of each unit, largest first: the order in which they are written.
UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>{_NUMBER}){unit}(?![a-z]))?" for unit in UNITS), re.ASCII)
_BARE_NUMBER = re.compile(rf"[+-]?{_NUMBER}", re.ASCII)
_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?", re.ASCII)
_WAYS = "write for example 500ms, 5s, 1m30s or 2h"


def parse_duration(text: str, what: str = "INTERVAL", *, zero: bool = False) -> float:
    """Return the seconds that `text` means.

    Parameters
    ----------
    text
        Numbers with the units d, h, m, s, ms, each at most once and the larger first; a number may
        have a fraction (``1.5h``). A number without a unit is refused: it would be a guess.
    what
        What the error message calls it.
    zero
        Whether a duration of 0 is allowed.

    Raises
    ------
    ArgumentValueError
        If `text` is no duration, or 0 where that makes no sense.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        if _BARE_NUMBER.fullmatch(text) and not text.startswith(("-", "+")):
            raise ArgumentValueError(
                f"{what} needs a unit, {text!r} has none; write {text}s for seconds or {text}m for minutes"
            )
        raise ArgumentValueError(f"{what} must be a duration, not {text!r}; {_WAYS}")
    seconds = sum(float(number) * UNITS[unit] for unit, number in match.groupdict().items() if number is not None)
    if not seconds and not zero:
        raise ArgumentValueError(f"{what} must be longer than 0, not {text!r}; {_WAYS}")
    return seconds


def is_duration(text: str) -> bool:
    """Return whether :func:`parse_duration` can read `text`."""
    return bool(text) and _DURATION.fullmatch(text) is not None


def write_duration(seconds: float) -> str:
    """Return the text that :func:`parse_duration` reads as `seconds`, to the microsecond."""
    parts = []
    rest = round(seconds * 1e6)  # whole microseconds: nothing is lost on the way
    for unit, size in UNITS.items():
        step = round(size * 1e6)
        count, rest = divmod(rest, step)
        if unit == "ms" and rest:
            parts.append(f"{count + rest / 1000:.3f}".rstrip("0") + unit)
        elif count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_instant(text: str, now: float, what: str = "--at") -> float:
    """Return the instant that `text` means, as UTC epoch seconds.

    Parameters
    ----------
    text
        ``14:30`` or ``14:30:15``, the next time that the local clock shows it, today or tomorrow; or
        ISO 8601 as in ``2026-11-22T14:30``, which is local time unless it ends in an offset or ``Z``.
    now
        The present instant, UTC epoch seconds.
    what
        What the error message calls it.

    Raises
    ------
    ArgumentValueError
        If `text` is neither, or names a time that does not exist.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    try:
        if not _CLOCK.fullmatch(text):
            return _iso(text).timestamp()
        wanted = time.fromisoformat(text.zfill(len("hh:mm:ss" if text.count(":") > 1 else "hh:mm")))
        today = datetime.fromtimestamp(now).date()  # noqa: DTZ006 - the local calendar is meant
        instant = datetime.combine(today, wanted).timestamp()
        if instant <= now:
            instant = datetime.combine(today + timedelta(days=1), wanted).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ArgumentValueError(
            f"{what} must be a time as in 14:30 or ISO 8601 as in 2026-11-22T14:30, not {text!r}"
        ) from None
    return instant


def _iso(text: str) -> datetime:
    """Read ISO 8601 with a date and a time; a date alone or a number would be a guess."""
    if ":" not in text or "-" not in text:
        raise ValueError
    return datetime.fromisoformat(text)
