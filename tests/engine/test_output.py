"""What a run printed, in bounds."""

from __future__ import annotations

import threading

from bgpool_jupyter.engine.output import MAX_CHARACTERS, MAX_DISPLAY_CHARACTERS, MAX_DISPLAYS, MAX_LINES, RunOutput


def test_streams_keep_their_order_and_can_be_told_apart():
    output = RunOutput()
    assert output.empty
    for stream, text in [("stdout", "a\n"), ("stderr", "b\n"), ("stdout", "c\n")]:
        output.write(stream, text)
    assert output.text() == "a\nb\nc\n"
    assert output.stdout == "a\nc\n"
    assert output.stderr == "b\n"
    assert not output.empty
    assert output.dropped_lines == 0


def test_the_newest_lines_stay_and_the_dropped_ones_are_counted():
    output = RunOutput()
    for n in range(MAX_LINES + 500):
        output.write("stdout", f"{n}\n")
    lines = output.text().splitlines()
    assert lines[0] == "… 500 lines dropped"
    assert lines[1] == "500"
    assert lines[-1] == str(MAX_LINES + 499)
    assert output.dropped_lines == 500


def test_one_huge_write():
    output = RunOutput()
    output.write("stdout", "x\n" * 100_000)
    assert output.text().count("x") == MAX_LINES
    assert output.dropped_lines == 100_000 - MAX_LINES
    output = RunOutput()
    output.write("stdout", "x" * (MAX_CHARACTERS + 5))
    assert output.text() == "… start of a long line dropped\n" + "x" * MAX_CHARACTERS


def test_characters_are_bounded():
    output = RunOutput()
    for _ in range(300):
        output.write("stdout", "y" * 1000)
    assert len(output.stdout) <= MAX_CHARACTERS


def test_displays_are_bounded_and_stand_in_the_text():
    output = RunOutput()
    for n in range(MAX_DISPLAYS + 5):
        output.display({"text/plain": f"figure {n}", "image/png": "AAAA"})
    assert len(output.displays) == MAX_DISPLAYS
    assert output.displays[-1]["image/png"] == "AAAA"
    assert "figure 24\n" in output.text()
    output.display({"text/plain": "big", "image/png": "A" * (MAX_DISPLAY_CHARACTERS + 1)})
    assert output.displays[-1] == {"text/plain": "big"}


def test_the_version_grows_with_every_write():
    output = RunOutput()
    output.write("stdout", "")
    assert output.version == 0
    output.write("stdout", "a")
    output.display({"text/plain": "b"})
    assert output.version == 2


def test_writes_of_many_threads_are_all_there():
    output = RunOutput()
    go = threading.Barrier(8)

    def write(n):
        go.wait(20)
        for _ in range(100):
            output.write("stdout", f"{n}\n")

    crowd = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(20)
    assert sorted(output.stdout.split()) == sorted(str(n) for n in range(8) for _ in range(100))
    assert repr(output) == "RunOutput(1600 characters, 0 displays)"
