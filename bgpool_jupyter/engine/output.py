"""What a run printed and displayed, in bounds."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from threading import RLock
from typing import Any, Protocol

from .arguments import encodable

__all__ = ["MAX_CHARACTERS", "MAX_DISPLAYS", "MAX_LINES", "RunCapture", "RunOutput"]

#: Most characters that the output of one run keeps; older ones are dropped first.
MAX_CHARACTERS = 64_000
#: Most line ends that the output of one run keeps.
MAX_LINES = 1_000
#: Most rich displays that the output of one run keeps.
MAX_DISPLAYS = 20
#: Most characters of the rich displays of one run; a single larger bundle keeps only its plain text.
MAX_DISPLAY_CHARACTERS = 2_000_000
#: Small writes are joined to pieces of this many characters.
_CHUNK = 4_000


class RunCapture(Protocol):
    """Leads what a run prints into the run's record. Called on the run's thread."""

    def enter(self, output: RunOutput, /) -> object:
        """Lead output of this thread into `output`; return what :meth:`exit` needs."""
        ...

    def exit(self, token: Any, /) -> None:
        """Undo :meth:`enter`."""

    def label(self, filename: str, /) -> str | None:
        """Return what people call the source behind `filename`, as in "Cell In[3]"; None for an ordinary file."""
        ...


def _size(value: object) -> int:
    """Return the characters that a value of a display needs, about."""
    if isinstance(value, str | bytes):
        return len(value)
    try:
        return len(json.dumps(value, default=str))
    except (TypeError, ValueError, RecursionError):
        return MAX_DISPLAY_CHARACTERS + 1


class RunOutput:
    """The bounded log of one run: stdout, stderr and rich displays in the order in which they came.

    The newest part is kept. :meth:`text` says how much was dropped.

    Notes
    -----
    Threads: any thread may write and read at any time; nothing blocks for long.
    """

    __slots__ = ("_characters", "_chunks", "_cut", "_displays", "_lines", "_lock", "dropped_lines", "version")

    def __init__(self) -> None:
        # Re-entrant: a __del__ that prints may run while this thread is inside write().
        self._lock = RLock()
        self._chunks: deque[tuple[str, str]] = deque()
        self._displays: deque[tuple[int, dict[str, Any]]] = deque()
        self._characters = 0
        self._lines = 0
        self._cut = False
        #: Count of line ends that were dropped.
        self.dropped_lines = 0
        #: Grows with every write, so that a reader sees cheaply whether something is new.
        self.version = 0

    def write(self, stream: str, text: str) -> None:
        """Append `text` to `stream` ("stdout" or "stderr"); the oldest part gives way."""
        if not text:
            return
        text = encodable(text)
        with self._lock:
            self._append(stream, text)

    def display(self, data: Mapping[str, Any]) -> None:
        """Append a rich display, a mapping from MIME type to data."""
        bundle = {str(kind): encodable(value) if isinstance(value, str) else value for kind, value in data.items()}
        plain = str(bundle.get("text/plain", "<display>"))
        size = sum(_size(value) for value in bundle.values())
        if size > MAX_DISPLAY_CHARACTERS:
            bundle = {"text/plain": plain[:MAX_CHARACTERS]}
            size = len(plain)
        with self._lock:
            self._displays.append((size, bundle))
            while (
                len(self._displays) > MAX_DISPLAYS or sum(size for size, _ in self._displays) > MAX_DISPLAY_CHARACTERS
            ):
                self._displays.popleft()
            self._append("display", plain if plain.endswith("\n") else plain + "\n")

    def drop_displays(self) -> None:
        """Forget the rich displays; their plain text stays. For records that have become old."""
        with self._lock:
            self._displays.clear()

    def _append(self, stream: str, text: str) -> None:
        if len(text) > MAX_CHARACTERS:
            self.dropped_lines += text.count("\n", 0, -MAX_CHARACTERS)
            self._cut = True
            text = text[-MAX_CHARACTERS:]
        lines = text.count("\n")
        if lines > MAX_LINES:
            kept = text.split("\n")[-MAX_LINES - 1 :]
            self.dropped_lines += lines - MAX_LINES
            self._cut = True
            text = "\n".join(kept)
            lines = MAX_LINES
        last = self._chunks[-1] if self._chunks else ("", "")
        if last[0] == stream and len(last[1]) + len(text) <= _CHUNK:
            self._chunks[-1] = (stream, last[1] + text)
        else:
            self._chunks.append((stream, text))
        self._characters += len(text)
        self._lines += lines
        while self._characters > MAX_CHARACTERS or self._lines > MAX_LINES:
            self._drop_oldest()
        self.version += 1

    def _drop_oldest(self) -> None:
        """Drop the first piece, or as much of it as is too much."""
        stream, old = self._chunks.popleft()
        cut = self._characters - MAX_CHARACTERS
        for _ in range(self._lines - MAX_LINES):
            end = old.find("\n", max(0, cut))
            cut = len(old) if end < 0 else end + 1
        cut = min(len(old), cut)
        ends = old.count("\n", 0, cut)
        self._characters -= cut
        self._lines -= ends
        self.dropped_lines += ends
        self._cut = True
        if cut < len(old):
            self._chunks.appendleft((stream, old[cut:]))

    def _joined(self, stream: str | None) -> str:
        with self._lock:
            chunks = list(self._chunks)
        return "".join(text for kind, text in chunks if stream is None or kind == stream)

    def text(self) -> str:
        """Return everything that was kept as text, with a first line that says what was dropped."""
        body = self._joined(None)
        if not self._cut:
            return body
        dropped = f"{self.dropped_lines:,} lines" if self.dropped_lines != 1 else "1 line"
        return f"… {dropped} dropped\n{body}" if self.dropped_lines else f"… start of a long line dropped\n{body}"

    @property
    def stdout(self) -> str:
        """What was kept of the standard output."""
        return self._joined("stdout")

    @property
    def stderr(self) -> str:
        """What was kept of the standard error."""
        return self._joined("stderr")

    @property
    def displays(self) -> list[dict[str, Any]]:
        """The rich displays that were kept, oldest first."""
        with self._lock:
            return [bundle for _, bundle in self._displays]

    @property
    def empty(self) -> bool:
        """Whether nothing was written."""
        return self.version == 0

    def __repr__(self) -> str:
        """Return a text without contents, equal for equal sizes."""
        return f"RunOutput({self._characters} characters, {len(self._displays)} displays)"
