"""The function that hears what happens to one worker."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from .calls import call_captured
from .events import Hub, PoolEvent, Subscription
from .output import RunCapture, RunOutput
from .runs import ErrorInfo

__all__ = ["Listener", "ListenerHost"]


class ListenerHost(Protocol):
    """What a listener asks of its worker's pool."""

    capture: RunCapture | None
    _hub: Hub


class Listener(Subscription):
    """The subscriber of one worker, which keeps what it prints.

    Its output is no run's: runs go on meanwhile, and an event may come before the first of them. It lives as long as
    its worker, also where that has left its pool: a run may still be in flight, and it may be started again.
    """

    def __init__(self, function: Callable[[PoolEvent], Any], host: ListenerHost) -> None:
        super().__init__(function, host._hub.log)
        self._host = host
        self.function = function
        #: What it printed, and the tracebacks of what it raised.
        self.output = RunOutput()

    def _tell(self, event: PoolEvent) -> None:
        what = f"on_event of worker {event.name!r} failed on {event.kind.value}"

        def report(error: ErrorInfo, raised: BaseException) -> None:  # noqa: ARG001 - only runs keep frames
            self.output.write("stderr", f"on_event failed on {event.kind.value}:\n{error.traceback}")
            self._log(f"{what}: {error.line}\n{error.traceback}")

        call = functools.partial(self._callback, event)
        capture = self._host.capture
        result = call_captured(call, capture, self.output, report)
        if result is not None and result.left is not None:  # it ends nothing here: an error as any other
            report(ErrorInfo.of(result.left, capture), result.left)
