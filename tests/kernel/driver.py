"""Drives a real kernel as a front end does."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]


class Answer(NamedTuple):
    """Everything that a kernel published for one cell."""

    stdout: str
    stderr: str
    #: text/plain of the cell's value, None if it has none.
    value: str | None
    #: MIME bundles that were displayed.
    displays: list[dict[str, Any]]
    #: Name, text and traceback of the error; None if there was none.
    error: tuple[str, str, str] | None
    execution_count: int


class Kernel:
    """A kernel of this Python, in a process of its own, that imports the package from this tree."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.manager = KernelManager(kernel_name="python3")
        # 127.0.0.1 without encryption is what every front end uses; the warning about it is noise here.
        self.manager.start_kernel(env=os.environ | {"PYTHONPATH": path}, extra_arguments=["--log-level=40"])
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        #: Output that came for no cell, or for one that had ended: (id of the cell, type, content).
        self.strays: list[tuple[str, str, dict[str, Any]]] = []

    def run(self, code: str, *, cell_id: str | None = None, timeout: float = 60) -> Answer:
        """Run a cell and wait for its end."""
        request = self.send(code, cell_id=cell_id)
        return self.answer(request, timeout=timeout)

    def converse(self, code: str, replies: list[str], timeout: float = 60) -> Answer:
        """Run a cell that asks, and answer each of its questions with the next reply."""
        request = self.send(code, allow_stdin=True)
        for reply in replies:
            question = self.client.get_stdin_msg(timeout=timeout)
            assert question["parent_header"]["msg_id"] == request, "asked in the name of another cell"
            self.client.input(reply)
        return self.answer(request, timeout=timeout)

    def send(self, code: str, *, cell_id: str | None = None, allow_stdin: bool = False) -> str:
        """Send a cell, with the id that front ends send along; return the id of the request."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": allow_stdin,
            "stop_on_error": False,
        }
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell_id} if cell_id else {})
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def answer(self, request: str, timeout: float = 60) -> Answer:
        """Wait for the end of a cell that was sent."""
        streams = {"stdout": "", "stderr": ""}
        value, displays, error = None, [], None
        end = time.monotonic() + timeout
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.1, end - time.monotonic()))
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != request:
                self._note(message)
            elif kind == "stream":
                streams[content["name"]] += content["text"]
            elif kind == "execute_result":
                value = content["data"]["text/plain"]
            elif kind == "display_data":
                displays.append(content["data"])
            elif kind == "error":
                error = (content["ename"], content["evalue"], "\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                break
        reply = self._reply(request, timeout)
        return Answer(streams["stdout"], streams["stderr"], value, displays, error, reply["content"]["execution_count"])

    def _reply(self, request: str, timeout: float) -> dict[str, Any]:
        while True:
            reply: dict[str, Any] = self.client.get_shell_msg(timeout=timeout)
            if reply["parent_header"].get("msg_id") == request:
                return reply

    def _note(self, message: dict[str, Any]) -> None:
        if message["msg_type"] in {
            "stream",
            "display_data",
            "execute_result",
            "update_display_data",
            "clear_output",
            "error",
        }:
            self.strays.append((message["parent_header"].get("msg_id", ""), message["msg_type"], message["content"]))

    def stray_output(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return the output that came for no cell, or for one that had ended."""
        while True:
            try:
                self._note(self.client.get_iopub_msg(timeout=0.2))
            except queue.Empty:
                return self.strays

    def begin(self, code: str, sign: Path) -> str:
        """Send a cell and wait until its code begins to be executed; return the id of the request.

        The cell makes the folder `sign` first. What it prints would come too early as a sign: the kernel may still be
        inside of its own print() then, where an interrupt can be swallowed.
        """
        request = self.send(f"__import__('os').mkdir({str(sign)!r})\n{code}")
        eventually(sign.exists, 30, "the cell begins")
        return request

    def until_said(self, text: str, timeout: float = 30) -> None:
        """Read until a cell that was sent has printed and flushed a text; that text is in no answer."""
        said = ""
        while text not in said:
            message = self.client.get_iopub_msg(timeout=timeout)
            if message["msg_type"] == "stream":
                said += message["content"]["text"]

    def until(self, expression: str, timeout: float = 30) -> None:
        """Ask the kernel until an expression is true."""
        eventually(lambda: self.run(f"bool({expression})").value == "True", timeout, expression)

    def complete(self, code: str) -> list[str]:
        """Return what the kernel offers at the end of the code."""
        request = self.client.complete(code, len(code))
        matches: list[str] = self._reply(request, 30)["content"]["matches"]
        return matches

    def restart(self) -> float:
        """Ask for a restart as front ends do; return the seconds until the old process was gone."""
        return self._end(restart=True)

    def shutdown(self) -> float:
        """Ask for the end; return the seconds until the process was gone."""
        return self._end(restart=False)

    def _end(self, *, restart: bool) -> float:
        begin = time.monotonic()
        self.manager.request_shutdown(restart=restart)
        eventually(lambda: not self.manager.is_alive(), 20, "the kernel ends")
        return time.monotonic() - begin

    def close(self) -> None:
        """End the process, whatever it does."""
        self.client.stop_channels()
        if self.manager.is_alive():
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


def eventually(condition: Callable[[], bool], timeout: float, what: str) -> None:
    """Look again and again until a condition of another process holds; fail after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(0.01)
