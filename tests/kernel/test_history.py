"""History: the records of this kernel, and the journal that outlives it. In real kernels where it is about them."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import threading

import pytest

from bgpool_jupyter import background, journal
from bgpool_jupyter.kernel import past, recording
from tests.kernel.driver import Kernel, eventually

LOAD = "%load_ext bgpool_jupyter\nfrom bgpool_jupyter import default_pool as pool, journal\n"
PATIENCE = 20


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where kernels and shells of a test keep their journal."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    return tmp_path / "ipython" / "profile_default" / "bgpool" / "journal.sqlite"


@pytest.fixture
def start(place):
    """Starts kernels with the extension loaded."""
    made = []

    def start(*, load=LOAD):
        kernel = Kernel()
        made.append(kernel)
        assert kernel.run(load).error is None
        return kernel

    yield start
    for kernel in made:
        kernel.close()


def outcomes(path, name=None):
    return [(run.name, run.outcome) for run in journal.runs(name, path=path)]


class TestKernels:
    def test_a_later_kernel_shows_the_runs_of_an_earlier_one(self, start, place):
        first = start()
        first.run(
            "%bgactor -n asks print('asked'); 6 * 7\n%bgactor -n fails 1 / 0\n"
            "import threading\n%bgactor -n hangs threading.Event().wait()"
        )
        first.until(
            "pool().find_workers('asks')[0].history and pool().find_workers('fails')[0].history "
            "and pool().find_workers('hangs')[0].current"
        )
        answer = first.run("print(repr(get_ipython().run_line_magic('bgpool', 'history --all')))")
        assert "hangs" in answer.stdout
        assert "◉ running" in answer.stdout
        first.shutdown()
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        second = start()
        second.run("%bgactor -n asks 1")
        second.until("pool().find_workers('asks')[0].history")
        table = second.run("%bgpool history --all").value
        lines = {line.split()[0] + " " + line.split()[1]: line for line in table.splitlines()[2:]}
        assert set(lines) == {"asks 1", "fails 1", "hangs 1", "asks this"}
        assert "✔ done" in lines["asks 1"]
        assert " 42 " in lines["asks 1"]
        assert lines["asks 1"].rstrip().endswith("asked")
        assert "✖ failed" in lines["fails 1"]
        assert lines["fails 1"].endswith("ZeroDivisionError: division by zero")
        assert "✖ lost" in lines["hangs 1"]
        assert [line.split()[0] for line in second.run("%bgpool history --all a* -n 1").value.splitlines()[2:]] == [
            "asks"
        ]
        frame = second.run("f = journal.frame('asks')\nprint(list(f.session), list(f.value), list(f.stdout))")
        assert frame.stdout == "[1, 2] ['42', '1'] ['asked\\n', '']\n"
        assert second.run("%bgpool history").value.count("asks") == 1, "of this kernel alone"
        second.shutdown()

    def test_kernels_at_the_same_time_see_each_other(self, start, place):
        first, second = start(), start()
        first.run("import threading\n%bgactor -n mine threading.Event().wait()\n%bgworker -n ticks 50ms 1")
        first.until("pool().find_workers('mine')[0].current and pool().find_workers('ticks')[0].run_count > 3")
        second.run("%bgworker -n tocks 50ms 2")
        second.until("pool().find_workers('tocks')[0].run_count > 3")
        eventually(lambda: ("mine", "running") in outcomes(place), PATIENCE, "it is committed without being asked")
        eventually(lambda: len(outcomes(place, "ticks")) > 3, PATIENCE, "so are those that come later")
        assert "running" in second.run("%bgpool history --all mine").value
        os.kill(first.manager.provisioner.process.pid, signal.SIGKILL)
        eventually(lambda: not first.manager.is_alive(), PATIENCE, "the kernel is gone")
        assert "lost" in second.run("%bgpool history --all mine").value
        ticks = [run.number for run in journal.runs("ticks", path=place)]
        assert ticks == list(range(1, len(ticks) + 1))
        assert len(ticks) > 3
        second.shutdown()
        assert {run.session for run in journal.runs(path=place)} == {1, 2}

    def test_kill_in_mid_run_loses_nothing_that_was_acknowledged(self, start, place):
        kill_again_and_again(start, place, 5)

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    def test_50_kills_in_mid_run_lose_nothing_that_was_acknowledged(self, start, place):
        kill_again_and_again(start, place, 50)

    def test_a_kernel_whose_journal_cannot_be_written_goes_on_after_one_warning(self, start, place):
        place.parent.mkdir(parents=True)
        place.write_bytes(b"no database, but long enough to be taken for one" * 100)
        kernel = start()
        answer = kernel.run(
            "import time\n%bgworker -n w -x 5 20ms 1\n"
            "while pool().find_workers('w')[0].run_count < 5: time.sleep(0.01)\n"
            "journal.default_journal().flush(5)"
        )
        assert answer.stderr.startswith(f"Warning: the journal {place} is damaged or no journal (")
        assert answer.stderr.count("\n") == 1
        assert kernel.run("1").stderr == ""
        assert kernel.stray_output() == []
        assert "is damaged or no journal" in kernel.run("%bgpool journal").value
        assert kernel.run("len(pool().find_workers('w')[0].history)").value == "5"
        kernel.shutdown()

    @pytest.mark.parametrize("word", ["off", "OFF"])
    def test_switched_off_by_the_environment(self, start, place, tmp_path, monkeypatch, word):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("BGPOOL_JOURNAL", word)
        kernel = start()
        assert kernel.run("%bgpool journal").value == "journal: off; %bgpool journal on switches it on"
        kernel.run("%bgactor -n w 1")
        kernel.until("pool().find_workers('w')[0].history")
        kernel.shutdown()
        assert not place.exists()
        assert not (tmp_path / word).exists()

    def test_a_place_from_the_environment(self, start, place, monkeypatch, tmp_path):
        monkeypatch.setenv("BGPOOL_JOURNAL", str(tmp_path / "elsewhere" / "runs.sqlite"))
        kernel = start()
        kernel.run("%bgactor -n w 1")
        kernel.until("pool().find_workers('w')[0].history")
        kernel.shutdown()
        assert outcomes(tmp_path / "elsewhere" / "runs.sqlite") == [("w", "done")]
        assert not place.exists()


def kill_again_and_again(start, place, count):
    """Kill a kernel with a run in flight, while others come and go, and look what the journal has."""
    program = (
        "import itertools, threading\n"
        "%bgactor -n flying threading.Event().wait()\n"
        "%bgworker -n ticks 10ms 1\n"
        "for n in itertools.count(1):\n"
        "    pool().new_actor(lambda: n, name='counted').start().result(timeout=20)\n"
        "    if journal.default_journal().flush(20):\n"
        "        print(n, flush=True)\n"
    )
    acknowledged: list[list[int]] = []
    for _ in range(count):
        kernel = start()
        process = kernel.manager.provisioner.process
        request = kernel.send(program)
        seen: list[int] = []
        while len(seen) < 20:
            message = kernel.client.get_iopub_msg(timeout=PATIENCE)
            if message["msg_type"] == "stream" and message["parent_header"].get("msg_id") == request:
                seen += [int(line) for line in message["content"]["text"].split()]
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        kernel.close()
        acknowledged.append(seen)
        connection = sqlite3.connect(place)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    runs = journal.runs(path=place)
    by_session = {}
    for run in runs:
        by_session.setdefault(run.session, {}).setdefault(run.name, []).append(run)
    assert sorted(by_session) == list(range(1, count + 1))
    for session, seen in enumerate(acknowledged, 1):
        found = by_session[session]
        assert [run.outcome for run in found["flying"]] == ["lost"]
        done = {int(run.value) for run in found["counted"] if run.outcome == "done"}
        assert set(seen) <= done, "a run that was acknowledged is missing"
        assert {run.outcome for run in found["ticks"]} <= {"done", "lost"}


class TestMagics:
    """In one process, over a pool in virtual time."""

    @pytest.fixture(autouse=True)
    def _own_place(self, notebook, tmp_path, monkeypatch):
        recording.stop()
        monkeypatch.setattr(recording, "_usual", tmp_path / "usual" / "journal.sqlite")
        notebook.run("%bgpool journal on")
        self.usual = tmp_path / "usual" / "journal.sqlite"

    def test_the_journal_says_where_it_is_and_what_it_has(self, notebook):
        notebook.run("%bgworker -n w -x 3 1s 1")
        notebook.advance(10)
        first, holds, keeps = repr(notebook.run("%bgpool journal")).splitlines()
        assert first == f"journal: {self.usual}"
        assert holds.startswith("holds: 3 runs of 1 worker in 1 kernel, since ")
        assert keeps == "keeps: at most 10,000 runs of a worker, 100,000 in all, 100 MB; the oldest go first"

    def test_off_and_on_again(self, notebook):
        notebook.run("%bgactor -n before 1")
        notebook.advance(1)
        assert repr(notebook.run("%bgpool journal off")) == "journal: off; %bgpool journal on switches it on"
        assert background.default_pool().recorder is None
        notebook.run("%bgactor -n between 1")
        notebook.advance(1)
        assert "no journal is on" in notebook.refused("%bgpool history --all")
        assert repr(notebook.run("%bgpool journal on")).startswith(f"journal: {self.usual}\n")
        notebook.run("%bgactor -n after 1")
        notebook.advance(1)
        assert [run.name for run in notebook.run("%bgpool history --all")] == ["before", "after"]
        assert [run.session for run in journal.runs()] == [1, 2]

    def test_before_anything_has_run(self, notebook):
        notebook.run("%bgpool journal " + str(self.usual.with_name("fresh")))
        self.usual.with_name("fresh").unlink()
        assert repr(notebook.run("%bgpool history --all")) == "no runs in the journal yet"

    def test_off_leaves_no_thread(self, notebook):
        notebook.run("%bgpool journal off")
        assert "bgpool-journal" not in [thread.name for thread in threading.enumerate()]

    def test_in_another_file(self, notebook, tmp_path):
        place = tmp_path / "my runs" / "j.sqlite"
        assert repr(notebook.run(f"%bgpool journal '{place}'")).startswith(f"journal: {place}\n")
        notebook.run("%bgactor -n there 1")
        notebook.advance(1)
        assert [run.name for run in journal.runs()] == ["there"]
        assert outcomes(place) == [("there", "done")]

    def test_a_file_that_cannot_be_it_changes_nothing(self, notebook, tmp_path):
        other = tmp_path / "notes.txt"
        other.write_text("my notes" * 1000)
        assert str(other) in notebook.refused(f"%bgpool journal {other}")
        assert "is no file" in notebook.refused(f"%bgpool journal {tmp_path}")
        assert "too much" in notebook.refused("%bgpool journal on off")
        kept = journal.default_journal()
        assert kept is not None
        assert kept.path == self.usual
        assert other.read_text() == "my notes" * 1000

    @pytest.mark.parametrize("word", ["of", "On", "OFF", "status"])
    def test_a_slip_of_the_pen_makes_no_file(self, notebook, tmp_path, monkeypatch, word):
        monkeypatch.chdir(tmp_path)
        assert f"./{word}" in notebook.refused(f"%bgpool journal {word}")
        assert not (tmp_path / word).exists()
        assert repr(notebook.run(f"%bgpool journal ./{word}")).startswith(f"journal: {tmp_path / word}\n")

    def test_the_latest_runs_are_shown_where_there_are_too_many(self, notebook):
        for number in range(11):
            notebook.run(f"%bgworker -n w{number} -x 50 1s {number}")
        notebook.advance(100)
        for table in (notebook.run("%bgpool history -n 50"), notebook.run("%bgpool history --all -n 50")):
            lines = repr(table).splitlines()
            assert (len(lines), lines[2].split()[0], lines[-2].split()[0]) == (503, "w6", "w10")
            assert lines[-1] == "… 50 earlier ones"
            assert table._repr_html_().endswith("<p>… 50 earlier ones</p>")

    def test_all_belongs_to_history(self, notebook):
        assert "--all belongs to history" in notebook.refused("%bgpool log --all *")
        assert "the journal has no run of 'nobody'" in notebook.refused("%bgpool history --all nobody")

    def test_names_of_workers_that_are_gone(self, notebook):
        notebook.run("%bgactor -n gone 1")
        notebook.advance(1)
        notebook.run("%bgpool remove gone")
        assert [run.name for run in notebook.run("%bgpool history --all g*")] == ["gone"]

    def test_a_name_with_wildcards_means_itself_first(self, notebook):
        notebook.run("%bgactor -n 'a[1]' 1\n%bgactor -n a1 1\n%bgactor -n '*' 1")
        notebook.advance(1)
        assert len(notebook.run("%bgpool history --all")) == 3
        for option in ("", "--all "):
            assert "a1" not in repr(notebook.run(f"%bgpool history {option}a[1]"))
        notebook.run("%bgpool remove *")
        assert len(notebook.run("%bgpool history --all 'a?'")) == 1

    def test_the_table_is_one_line_a_run_whatever_is_in_it(self, notebook):
        notebook.run("%bgactor -n '<b>x</b>' print('a\\n<i>y</i>\\x1b[31m'); '<u>z</u>'")
        notebook.advance(1)
        for table in (notebook.run("%bgpool history"), notebook.run("%bgpool history --all")):
            assert len(repr(table).splitlines()) == 3
            html = table._repr_html_()
            assert "<b>" not in html
            assert "<i>" not in html
            assert "<u>" not in html
            assert "&lt;i&gt;y&lt;/i&gt;\\x1b[31m" in html

    def test_history_shows_outcome_value_output_and_error(self, notebook):
        notebook.run("%bgactor -n fine print('first\\nlast'); 42\n%bgactor -n broken print('so far'); 1 / 0")
        notebook.advance(1)
        _, _, fine, broken = repr(notebook.run("%bgpool history")).splitlines()
        assert "✔ done" in fine
        assert "42" in fine
        assert fine.rstrip().endswith("last")
        assert "✖ failed" in broken
        assert "so far" in broken
        assert broken.endswith("ZeroDivisionError: division by zero")

    @pytest.mark.parametrize(
        ("number", "text"),
        [(0, "0 bytes"), (999, "999 bytes"), (999_900, "1 MB"), (1_234_567, "1.23 MB"), (2.5e9, "2.5 GB")],
    )
    def test_sizes(self, number, text):
        assert past.format_size(number) == text

    def test_loading_again_does_not_begin_anew(self, notebook, load):
        before = journal.default_journal()
        load()
        assert journal.default_journal() is before

    def test_unloading_closes_it(self, notebook):
        from bgpool_jupyter.kernel import lifecycle

        kept = journal.default_journal()
        assert kept is not None
        lifecycle.unload(notebook.shell)
        assert kept.closed
        assert journal.default_journal() is None
        assert "bgpool-journal" not in [thread.name for thread in threading.enumerate()]
