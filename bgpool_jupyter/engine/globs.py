"""Name patterns with the meaning of :func:`fnmatch.fnmatchcase`."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from functools import lru_cache

__all__ = ["matcher"]


@lru_cache(maxsize=256)
def matcher(pattern: str) -> Callable[[str], re.Match[str] | None]:
    """Compile `pattern`: ``*`` is any text, ``?`` one character, ``[...]`` one of a set, ``[!...]`` one outside it.

    The standard library's translation is used as it is; it has no nested repetition, so that a
    hostile pattern cannot take exponential time.
    """
    return re.compile(fnmatch.translate(pattern)).match
