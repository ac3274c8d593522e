"""Checks of arguments: the one place that words the errors of bad input.

Each function returns the checked value or raises :class:`ArgumentTypeError` or
:class:`ArgumentValueError` with one sentence that names the argument, the value and the way out.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from .errors import ArgumentTypeError, ArgumentValueError

__all__ = [
    "LONGEST_WAIT",
    "check_callable",
    "check_count",
    "check_delay",
    "check_flag",
    "check_instant",
    "check_interval",
    "check_name",
    "check_number",
    "check_pattern",
    "check_timeout",
    "encodable",
    "log_text",
    "safe_repr",
]

#: The longest interval or delay in seconds, about a hundred years. Larger numbers are slips
#: (milliseconds, nanoseconds) and would overflow the platform's clock.
LONGEST_WAIT = 3_200_000_000.0


#: Instants from the year 100 to the year 5138. Milliseconds since 1970 are larger; a calendar knows all of these.
_FIRST_INSTANT, _LAST_INSTANT = -5.9e10, 1e11


#: What a terminal, or a reader, would take for more than text; and the sequences that only set a colour.
_STEERING = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_COLOUR = re.compile(r"(\x1b\[[0-9;:]{0,50}m)")


def safe_repr(value: object) -> str:
    """Return a short ``repr`` of anything, also of an object whose ``__repr__`` raises."""
    try:
        return reprlib.repr(value)
    except BaseException:
        return f"<{type(value).__name__} object whose repr failed>"


def check_number(value: object, argument: str, hint: str) -> float:
    """Return `value` as a finite float; bool, NaN and infinities are refused."""
    # Numbers of other libraries (numpy, Decimal, Fraction) say what they are through __float__.
    number_like = hasattr(type(value), "__float__") and not isinstance(value, bool)
    try:
        number = float(value) if number_like else None  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        number = None
    if number is None:
        message = f"{argument} must be a number, not {type(value).__name__} {safe_repr(value)}; {hint}"
        raise ArgumentTypeError(message)
    if not math.isfinite(number):
        message = f"{argument} must be a finite number, not {safe_repr(value)}; {hint}"
        raise ArgumentValueError(message)
    return number


def check_interval(value: object, argument: str = "interval") -> float:
    """Return a number of seconds greater than 0."""
    hint = "give seconds greater than 0, for example 0.5"
    number = check_number(value, argument, hint)
    if not 0.0 < number <= LONGEST_WAIT:
        message = (
            f"{argument} must be greater than 0 and at most {LONGEST_WAIT:.0f} seconds, not {safe_repr(value)}; {hint}"
        )
        raise ArgumentValueError(message)
    return number


def check_delay(value: object, argument: str = "delay") -> float:
    """Return a number of seconds, 0 or greater."""
    hint = "give seconds from 0 on, for example 10"
    number = check_number(value, argument, hint)
    if not 0.0 <= number <= LONGEST_WAIT:
        message = (
            f"{argument} must be 0 or greater and at most {LONGEST_WAIT:.0f} seconds, not {safe_repr(value)}; {hint}"
        )
        raise ArgumentValueError(message)
    return number


def check_instant(value: object, argument: str = "at") -> float:
    """Return an instant as UTC epoch seconds, from a number or an aware datetime."""
    if isinstance(value, datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            message = (
                f"{argument} must have a time zone, not the naive {value.isoformat(sep=' ')}; "
                f"give {argument}=value.astimezone() or UTC epoch seconds"
            )
            raise ArgumentValueError(message)
        value = value.timestamp()
    hint = "give UTC epoch seconds, for example time.time() + 60, or a datetime with a time zone"
    number = check_number(value, argument, hint)
    if not _FIRST_INSTANT <= number <= _LAST_INSTANT:
        message = f"{argument} must be UTC epoch seconds, not {safe_repr(value)}; {hint}"
        raise ArgumentValueError(message)
    return number


def check_count(value: object, argument: str = "max_count") -> int | None:
    """Return a whole number from 1 on, or None for no limit."""
    if value is None:
        return None
    hint = "give a whole number from 1 on, or None for no limit"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        message = f"{argument} must be a whole number, not {type(value).__name__} {safe_repr(value)}; {hint}"
        raise ArgumentTypeError(message)
    number = int(value.__index__())
    if number < 1:
        message = f"{argument} must be at least 1, not {safe_repr(number)}; {hint}"
        raise ArgumentValueError(message)
    return number


def check_flag(value: object, argument: str, *, default: bool) -> bool:
    """Return a bool; None stands for the default."""
    if value is None:
        return default
    if not isinstance(value, bool):
        kind = type(value).__name__
        message = f"{argument} must be True or False, not {kind} {safe_repr(value)}; give {argument}={default}"
        raise ArgumentTypeError(message)
    return value


def check_callable(value: object, argument: str) -> Callable[..., Any]:
    """Return something that can be called."""
    if not callable(value):
        message = (
            f"{argument} must be callable, not {type(value).__name__} {safe_repr(value)}; "
            "give the function itself, or lambda: f(…)"
        )
        raise ArgumentTypeError(message)
    return value


def check_name(value: object, argument: str = "name") -> str | None:
    """Return a name, or None where one is to be generated."""
    if value is None:
        return None
    if not isinstance(value, str):
        kind = type(value).__name__
        message = f"{argument} must be a str, not {kind} {safe_repr(value)}; give a text, or None to have one made"
        raise ArgumentTypeError(message)
    if not value:
        message = f"{argument} must not be empty; give a text, or None to have one made"
        raise ArgumentValueError(message)
    if not value.isascii() and encodable(value) != value:
        message = f"{argument} must be a text that can be encoded, not {value!a}; leave the lone surrogates out"
        raise ArgumentValueError(message)
    return value


def encodable(text: str) -> str:
    """Return `text` with lone surrogates, which no message to a front end can carry, written as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def log_text(text: str) -> str:
    r"""Return `text` of many lines so that it cannot steer a terminal.

    Line ends, tabs, returns to the start of a line (progress bars use them) and colours stay; other control
    characters, and marks that turn the writing direction, become escapes such as ``\x1b``.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    if not _STEERING.search(text):
        return text
    pieces = _COLOUR.split(text)
    pieces[::2] = [_STEERING.sub(_escape, piece) for piece in pieces[::2]]
    is_open = len(pieces) > 1 and pieces[-2] not in {"\x1b[0m", "\x1b[m"}
    return "".join(pieces) + ("\x1b[0m" if is_open else "")


def check_pattern(value: object, argument: str = "name") -> str:
    """Return a glob."""
    if not isinstance(value, str):
        message = (
            f"{argument} must be a str with the wildcards * ? [...], not {type(value).__name__} {safe_repr(value)}; "
            'give for example "poll*"'
        )
        raise ArgumentTypeError(message)
    return value


def check_timeout(value: object, argument: str = "timeout") -> float | None:
    """Return a number of seconds from 0 on, or None for no limit."""
    if value is None:
        return None
    return check_delay(value, argument)
