"""What a run prints and displays goes into its record, and nothing else does."""

from __future__ import annotations

import io
import logging
import sys
import threading
from contextlib import contextmanager, redirect_stdout
from typing import Any

import pytest

from bgpool_jupyter.engine import RunOutput
from bgpool_jupyter.kernel.capture import OutputCapture, RunStream


def stdout() -> Any:
    """Return the standard output, which is more than its type says."""
    return sys.stdout


@pytest.fixture
def capture(shell, capsys):
    """A capture; tests install it, because pytest sets the streams anew when a test begins."""
    made = OutputCapture(shell)
    yield made
    made.uninstall()


def kept_outputs(shell):
    """Return what IPython, from 9.1 on, keeps of the output of cells."""
    return getattr(shell.history_manager, "outputs", None)


@contextmanager
def run(capture):
    """Be a run; yield its output."""
    output = RunOutput()
    token = capture.enter(output)
    try:
        yield output
    finally:
        capture.exit(token)


def test_output_of_a_run_goes_into_its_record(capture, capsys):
    capture.install()
    with run(capture) as output:
        print("one", end=";")
        sys.stdout.writelines(["two", "three\n"])
        print("err", file=sys.stderr)
        sys.stdout.flush()
    print("mine")
    assert (output.stdout, output.stderr) == ("one;twothree\n", "err\n")
    assert output.text() == "one;twothree\nerr\n"
    assert capsys.readouterr() == ("mine\n", "")


def test_8_threads_are_kept_apart(capture, capsys):
    capture.install()
    outputs = {}
    begin = threading.Barrier(9)

    def worker(number):
        begin.wait(30)
        for line in range(100):
            with run(capture) as output:
                print(number, line)
                outputs[number, line] = output

    threads = [threading.Thread(target=worker, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    begin.wait(30)
    for line in range(100):
        print("main", line)
    for thread in threads:
        thread.join(60)
    assert {key: output.text() for key, output in outputs.items()} == {
        (number, line): f"{number} {line}\n" for number in range(8) for line in range(100)
    }
    assert capsys.readouterr().out == "".join(f"main {line}\n" for line in range(100))


def test_runs_nest(capture, capsys):
    capture.install()
    with run(capture) as outer:
        print("outer")
        with run(capture) as inner:
            print("inner")
        print("outer again")
    assert (outer.text(), inner.text()) == ("outer\nouter again\n", "inner\n")


def test_display_of_a_run_goes_into_its_record(capture, shell, capsys):
    capture.install()
    before = str(kept_outputs(shell))
    with run(capture) as output:
        shell.run_line_magic("config", "")  # prints: a magic inside of a run
        shell.display_pub.publish({"text/plain": "a picture", "image/png": b"\x89PNG"})
        shell.display_pub.clear_output()
        from IPython.display import HTML, display

        display(HTML("<b>bold</b>"))
    assert output.displays == [
        {"text/plain": "a picture", "image/png": "iVBORw=="},
        {"text/plain": "<IPython.core.display.HTML object>", "text/html": "<b>bold</b>"},
    ]
    assert "Available objects for config" in output.text()
    assert capsys.readouterr() == ("", "")
    assert str(kept_outputs(shell)) == before


def test_display_outside_of_runs_is_untouched(capture, shell, capsys):
    capture.install()
    shell.display_pub.publish({"text/plain": "mine"})
    assert capsys.readouterr().out == "mine\n"


def test_expression_values_of_a_run_do_not_reach_the_displayhook(capture, shell):
    capture.install()
    hook = sys.displayhook
    with run(capture) as output:
        assert sys.displayhook is hook
    assert output.empty


def test_history_has_no_text_of_runs(capture, shell):
    """IPython copies what a cell writes by replacing `write`; text of runs must not go that way."""
    capture.install()
    shell.user_ns["talk"] = lambda: in_thread(lambda: talk(capture))
    shell.run_cell("print('mine before')\noutput = talk()\nprint('mine after')", store_history=True)
    kept = str(kept_outputs(shell))
    if kept_outputs(shell) is not None:
        assert "mine before" in kept
        assert "mine after" in kept
    assert "of a run" not in kept
    assert shell.user_ns["output"].text() == "of a run\n"


def talk(capture):
    with run(capture) as output:
        print("of a run")
    return output


def in_thread(function):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function()))
    thread.start()
    thread.join(30)
    return answers[0]


def test_capture_magic_sees_no_text_of_runs(capture, shell, capsys):
    capture.install()
    shell.user_ns["talk"] = lambda: in_thread(lambda: talk(capture))
    shell.run_cell("%%capture captured\nprint('mine')\noutput = talk()", store_history=True)
    assert shell.user_ns["captured"].stdout == "mine\n"
    assert shell.user_ns["output"].text() == "of a run\n"
    print("still here")
    assert capsys.readouterr().out == "still here\n"


def test_redirection_outside_of_runs_works_as_ever(capture, capsys):
    capture.install()
    with redirect_stdout(io.StringIO()) as redirected:
        print("redirected")
    print("mine")
    assert redirected.getvalue() == "redirected\n"
    assert capsys.readouterr().out == "mine\n"


def test_replaced_write_is_kept_for_text_from_outside(capture, capsys):
    capture.install()
    seen = []
    write = sys.stdout.write

    def tee(text):
        seen.append(text)
        return write(text)

    stdout().write = tee
    print("mine")
    with run(capture) as output:
        print("of a run")
    inner = sys.stdout.write
    stdout().write = lambda text: inner(text)  # nested, as a cell that runs a cell
    print("nested")
    stdout().write = inner
    print("back")
    stdout().write = write
    print("without")
    assert "".join(seen) == "mine\nnested\nback\n"
    assert output.text() == "of a run\n"
    assert capsys.readouterr().out == "mine\nnested\nback\nwithout\n"
    del stdout().write


def test_stand_in_passes_for_the_stream_behind(capture, shell):
    capture.install()
    behind = stdout().behind
    assert type(sys.stdout) is RunStream
    assert isinstance(sys.stdout, type(behind))
    assert sys.stdout.encoding == behind.encoding
    assert sys.stdout.fileno is not None
    assert not sys.stdout.closed
    stdout().label = "set on the one behind"
    assert behind.label == "set on the one behind"
    del stdout().label
    assert not hasattr(behind, "label")
    with pytest.raises(AttributeError):
        stdout().nothing_of_that_name  # noqa: B018
    assert "stdout of bgpool_jupyter in front of" in repr(sys.stdout)


def test_bytes_are_refused_in_a_run_as_elsewhere(capture):
    capture.install()
    with run(capture), pytest.raises(TypeError, match=r"^write\(\) argument must be str, not bytes$"):
        stdout().write(b"x")


def test_record_is_no_terminal(capture, monkeypatch):
    capture.install()
    monkeypatch.setattr(stdout().behind, "isatty", lambda: True)
    assert sys.stdout.isatty()
    with run(capture):
        assert not sys.stdout.isatty()


def test_loggers_made_earlier_and_later_write_into_the_record(shell, capsys):
    logger = logging.getLogger("tests.capture")
    logger.propagate = False
    early = logging.StreamHandler(sys.stderr)
    real = sys.stderr
    elsewhere = logging.StreamHandler(io.StringIO())
    logger.addHandler(early)
    logger.addHandler(elsewhere)
    capture = OutputCapture(shell)
    capture.install()
    late = logging.StreamHandler()
    logger.addHandler(late)
    try:
        with run(capture) as output:
            logger.warning("of a run")
        logger.warning("mine")
        assert output.stderr == "of a run\nof a run\n"
        assert capsys.readouterr().err == "mine\nmine\n"
        assert elsewhere.stream.getvalue() == "of a run\nmine\n"
        capture.uninstall()
        assert early.stream is real
        assert late.stream is real
    finally:
        capture.uninstall()
        logger.handlers.clear()


def test_install_and_uninstall_are_idempotent(shell, capsys):
    streams = sys.stdout, sys.stderr
    publish = shell.display_pub.publish
    capture = OutputCapture(shell)
    capture.uninstall()
    capture.install()
    stand_ins = sys.stdout, sys.stderr
    capture.install()
    assert (sys.stdout, sys.stderr) == stand_ins
    assert stdout().behind is streams[0]
    capture.uninstall()
    capture.uninstall()
    assert (sys.stdout, sys.stderr) == streams
    assert shell.display_pub.publish == publish
    assert "publish" not in vars(shell.display_pub)


def test_install_inside_a_captured_cell_covers_the_cells_after_it(shell, capsys):
    """`%%capture` round the cell that loads the extension puts the old streams back when it ends."""
    capture = OutputCapture(shell)
    shell.user_ns["capture"] = capture
    shell.run_cell("%%capture\ncapture.install()")
    try:
        shell.run_cell("import sys")
        assert type(sys.stdout) is RunStream
        assert talk(capture).text() == "of a run\n"
    finally:
        capture.uninstall()
    assert type(sys.stdout) is not RunStream


def test_stream_replaced_by_somebody_is_covered_again_before_the_next_cell(capture, shell, monkeypatch):
    capture.install()
    other = io.StringIO()
    before = sys.stdout
    sys.stdout = other
    try:
        shell.run_cell("pass")
        assert talk(capture).text() == "of a run\n"
        print("mine")
        assert other.getvalue() == "mine\n"
    finally:
        sys.stdout = before


def test_terminal_at_its_prompt(shell, monkeypatch):
    """While it waits for input, prompt_toolkit has an object of its own in sys.stdout."""
    from prompt_toolkit.patch_stdout import StdoutProxy

    written = []
    monkeypatch.setattr(StdoutProxy, "write", lambda _self, text: written.append(text) or len(text))
    prompt = StdoutProxy.__new__(StdoutProxy)
    capture = OutputCapture(shell)
    capture.install()
    before = sys.stdout
    sys.stdout = prompt
    try:
        output = talk(capture)
        print("mine")
    finally:
        sys.stdout = before
        capture.uninstall()
    assert output.text() == "of a run\n"
    assert "".join(written) == "mine\n"
    assert not hasattr(StdoutProxy.write, "bgpool_covers")
