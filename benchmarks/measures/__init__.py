"""Every work of the benchmark."""

from __future__ import annotations

from .bursts import BURSTS
from .finding import FINDING
from .idle import IDLE
from .jobs import JOBS
from .lateness import LATENESS
from .observing import OBSERVING
from .queueing import QUEUEING

__all__ = ["WORKS"]

WORKS = (*LATENESS, *QUEUEING, *BURSTS, *JOBS, *IDLE, *FINDING, *OBSERVING)
