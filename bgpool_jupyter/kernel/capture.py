"""Leads what a run prints and displays into the run's own record, and nothing else anywhere.

A stand-in for ``sys.stdout`` and ``sys.stderr`` asks a context variable whose text it is: that of a
run goes to the run's :class:`RunOutput`, everything else goes to the stream that stood there before,
untouched. ``display()`` is caught by a hook of ipykernel's display publisher that holds for one thread,
and in shells without such hooks by a stand-in for ``publish``. The displayhook is never used by a run.

What is not caught, because it does not pass by ``sys.stdout``:

- handlers of ``logging`` that were made earlier keep the stream that stood there. Those that hold exactly
  that stream at install time are led to the stand-in, and back at uninstall; a handler with a stream of its
  own keeps it. Handlers made later hold the stand-in by themselves;
- threads and processes that a callback starts, and what is written to file descriptors or ``sys.stdout.buffer``
  (in a terminal, where IPython does so, the output of ``!commands`` too);
- a run while the main thread is inside ``redirect_stdout`` or ``capture_output``, which put a stream of their
  own into ``sys.stdout`` for every thread: that stream then receives the run's text. (Round a whole cell, as
  ``%%capture`` does it, the stream is covered.)
"""

from __future__ import annotations

import base64
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar, Token
from typing import Any, Self

from ..engine.output import RunOutput

__all__ = ["CURRENT_OUTPUT", "OutputCapture", "RunStream"]

#: The output of the run that this context belongs to; None outside runs.
CURRENT_OUTPUT: ContextVar[RunOutput | None] = ContextVar("bgpool_current_output", default=None)

_STREAMS = ("stdout", "stderr")


class RunStream:
    """Stand-in for a standard stream: the text of a run goes to its record, the rest to the stream behind.

    It passes for an instance of the class of the stream behind, since programs ask
    (``isinstance(sys.stdout, OutStream)``), and hands all other attributes through.

    IPython 9 replaces the attribute ``write`` of ``sys.stdout`` while a cell executes, to keep a copy of
    the cell's text in the history. Such a replacement is kept for text from outside of runs only, so that
    the text of a run neither goes round the record nor lands in some cell's history.

    Notes
    -----
    Threads: may be used from any thread. The stand-in itself has no state that two threads could race for:
    which way a text goes is read from the context of the thread that writes.
    """

    #: The stream that stood here before.
    behind: Any
    #: "stdout" or "stderr".
    kind: str
    _replaced: Callable[[str], Any] | None

    def __init__(self, stream: Any, kind: str) -> None:
        self.__dict__.update(behind=stream, kind=kind, _replaced=None)

    def _write(self, text: str) -> Any:
        output = CURRENT_OUTPUT.get()
        if output is None:
            return self.behind.write(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        output.write(self.kind, text)
        return len(text)

    @property
    def write(self) -> Callable[[str], Any]:
        """Write a text; what is returned outside of runs may be a replacement that somebody has set."""
        if self._replaced is None or CURRENT_OUTPUT.get() is not None:
            return self._write
        return self._replaced

    def writelines(self, lines: Any) -> None:
        """Write texts one after the other."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream behind; a run has nothing to flush."""
        if CURRENT_OUTPUT.get() is None:
            self.behind.flush()

    def isatty(self) -> bool:
        """Tell whether a terminal reads along; a record is none."""
        return CURRENT_OUTPUT.get() is None and bool(self.behind.isatty())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "write":
            self.__dict__["_replaced"] = None if value == self._write else value
        else:
            setattr(self.behind, name, value)

    def __delattr__(self, name: str) -> None:
        if name == "write":
            self.__dict__["_replaced"] = None
        else:
            delattr(self.behind, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """Pass for the class of the stream behind."""
        return type(self.behind)

    def __enter__(self) -> Self:
        self.behind.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self.behind.__exit__(*error)

    def __iter__(self) -> Iterator[str]:
        return iter(self.behind)

    def __repr__(self) -> str:
        return f"<{self.kind} of bgpool_jupyter in front of {self.behind!r}>"


class OutputCapture:
    """The capture of a shell's runs; a pool takes it as its ``capture``.

    Parameters
    ----------
    shell
        The InteractiveShell whose display publisher is to be covered.

    Notes
    -----
    Threads: :meth:`install` and :meth:`uninstall` belong to the main thread; :meth:`enter` and
    :meth:`exit` are called on the run's thread. Only that thread's context and its own hooks change.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._publisher = shell.display_pub
        self._has_hooks = hasattr(self._publisher, "register_hook")
        self.installed = False

    # -- the run's side

    def enter(self, output: RunOutput, /) -> Token[RunOutput | None]:
        """Lead the output of this thread's context into `output`."""
        token = CURRENT_OUTPUT.set(output)
        if self._has_hooks:
            self._publisher.register_hook(_take_message)
        return token

    def exit(self, token: Token[RunOutput | None], /) -> None:
        """Undo :meth:`enter`."""
        if self._has_hooks:
            self._publisher.unregister_hook(_take_message)
        CURRENT_OUTPUT.reset(token)

    def label(self, filename: str, /) -> str | None:
        """Return "Cell In[3]" for the source of a cell, None for any other."""
        name = self._shell.compile.format_code_name(filename)
        return None if name is None else " ".join(name)

    # -- the shell's side

    def install(self) -> None:
        """Put the stand-ins in place; once is enough, twice does no harm."""
        if not self.installed:
            self.installed = True
            self._shell.events.register("pre_run_cell", self._cover)
        self._cover()

    def _cover(self, *_event: object) -> None:
        """Cover what is not covered yet.

        It is asked again before each cell, so that a redirection that ended, ``%%capture`` round a cell, or
        somebody's new ``sys.stdout`` do not take the stand-ins away for good.
        """
        for kind in _STREAMS:
            _cover_stream(kind)
        publisher = self._shell.display_pub
        if not hasattr(publisher, "register_hook"):
            _cover_method(publisher, "publish", _take_display)
            _cover_method(publisher, "clear_output", _take_nothing)
        prompt = sys.modules.get("prompt_toolkit.patch_stdout")
        if prompt is not None:
            # While a terminal waits at its prompt, an object of this class stands in sys.stdout and sys.stderr.
            _cover_method(prompt.StdoutProxy, "write", _take_text)

    def uninstall(self) -> None:
        """Put back what stood there before; once is enough, twice does no harm."""
        if not self.installed:
            return
        self.installed = False
        self._shell.events.unregister("pre_run_cell", self._cover)
        for kind in _STREAMS:
            _uncover_stream(kind)
        for publisher in {self._publisher, self._shell.display_pub}:
            _uncover_method(publisher, "publish")
            _uncover_method(publisher, "clear_output")
        prompt = sys.modules.get("prompt_toolkit.patch_stdout")
        if prompt is not None:
            _uncover_method(prompt.StdoutProxy, "write")


def _cover_stream(kind: str) -> None:
    """Put a stand-in before ``sys.<kind>``, and lead the log handlers that hold that stream to it."""
    stream = getattr(sys, kind)
    if stream is None or type(stream) is RunStream:
        return
    stand_in = RunStream(stream, kind)
    setattr(sys, kind, stand_in)
    for handler in _log_handlers():
        if handler.stream is stream:
            handler.setStream(stand_in)


def _uncover_stream(kind: str) -> None:
    """Put back what stood behind ``sys.<kind>``.

    A stand-in that a redirection holds and puts back later does no harm: outside of runs it hands everything through.
    """
    while type(stand_in := getattr(sys, kind)) is RunStream:
        setattr(sys, kind, stand_in.behind)
    for handler in _log_handlers():
        while type(stand_in := handler.stream) is RunStream and stand_in.kind == kind:
            handler.setStream(stand_in.behind)


def _log_handlers() -> list[logging.StreamHandler[Any]]:
    """Return the handlers of all loggers that write to a stream."""
    loggers = [logging.getLogger(), *list(logging.getLogger().manager.loggerDict.values())]
    handlers = {id(handler): handler for logger in loggers for handler in getattr(logger, "handlers", ())}
    return [handler for handler in handlers.values() if isinstance(handler, logging.StreamHandler)]


def _cover_method(owner: Any, name: str, take: Callable[..., Any]) -> None:
    """Let `take` stand for a method inside of runs."""
    original = getattr(owner, name)
    if hasattr(original, "bgpool_covers"):
        return

    def covered(*args: Any, **more: Any) -> Any:
        return original(*args, **more) if CURRENT_OUTPUT.get() is None else take(*args, **more)

    covered.bgpool_covers = original  # type: ignore[attr-defined]
    setattr(owner, name, covered)


def _uncover_method(owner: Any, name: str) -> None:
    """Undo :func:`_cover_method`."""
    covered = getattr(owner, name)
    if hasattr(covered, "bgpool_covers"):
        if isinstance(owner, type):
            setattr(owner, name, covered.bgpool_covers)
        else:
            delattr(owner, name)  # the method of the class stands behind it


def _take_nothing(*_args: Any, **_more: Any) -> None:
    """Leave the cells as they are."""


def _take_text(_stream: Any, text: str) -> int:
    """Write to the record what a run writes to a stream that is not ours."""
    output = CURRENT_OUTPUT.get()
    if output is not None:
        output.write("stdout", text)
    return len(text)


def _take_display(data: Mapping[str, Any], *_args: Any, **_more: Any) -> None:
    """Keep a display in the record."""
    output = CURRENT_OUTPUT.get()
    if output is not None and data:
        output.display({kind: _as_json(value) for kind, value in data.items()})


def _take_message(message: dict[str, Any]) -> dict[str, Any] | None:
    """Keep what a message of the display publisher shows; None as the answer keeps it out of the cells."""
    if CURRENT_OUTPUT.get() is None:
        return message
    _take_display(message.get("content", {}).get("data", {}))
    return None


def _as_json(value: Any) -> Any:
    """Return data of a display as text, a picture's bytes in base 64."""
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode("ascii")
    return value
