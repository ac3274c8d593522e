"""Medians, percentiles and paired ratios. Pure arithmetic."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

__all__ = ["median", "paired_ratios", "percentile"]


def median(values: Iterable[float]) -> float | None:
    """Return the median of the numbers, None if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else None


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of the values do not exceed (nearest rank); NaN if there are none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def paired_ratios(top: Sequence[float], bottom: Sequence[float]) -> list[float]:
    """Return ``top / bottom`` repetition by repetition; pairs without both numbers, or over 0, are left out."""
    pairs = zip(top, bottom, strict=False)
    return [a / b for a, b in pairs if not math.isnan(a) and not math.isnan(b) and b > 0]
