"""Bodies with `await`, on the one event loop of a real pool; workers and jobs that are awaited."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

import pytest

from bgpool_jupyter import background
from bgpool_jupyter.engine import WorkerPool

WAIT = 30


@pytest.fixture
def real(shell, load, monkeypatch, capsys):
    """Return what runs cells, over a real pool in the place of the default pool."""
    pool = WorkerPool()
    monkeypatch.setattr(background, "_pool", pool)
    load()
    shell.user_ns.update(threading=threading, asyncio=asyncio)

    def run(code):
        result = shell.run_cell(code, store_history=True)
        result.raise_error()
        return result.result

    yield run
    pool.close(WAIT)
    assert not [thread for thread in threading.enumerate() if thread.name == "bgpool-loop"]


MEETING = """\
%%bgworker -n {name} -x 1 1h
met.add("{name}")
while len(met) < 2:
    await asyncio.sleep(0.001)
threading.get_ident(), threading.current_thread().name
"""


def test_two_bodies_wait_beside_each_other_on_one_thread(real):
    """Each of them waits until the other has begun: one after the other they would never end."""
    real("met = set()")
    first, second = real(MEETING.format(name="a")), real(MEETING.format(name="b"))
    assert first.result(WAIT) == second.result(WAIT)
    assert first.result(WAIT)[1] == "bgpool-loop"


def test_output_goes_to_each_ones_own_record(real, capsys):
    real("met = set()")
    workers = [
        real(
            f"%%bgworker -n {name} -x 1 1h\n"
            f"print('{name} begins')\n"
            f"met.add('{name}')\n"
            "while len(met) < 2: await asyncio.sleep(0.001)\n"
            f"print('{name} ends')\n"
            f"display({{'text/plain': '{name} shows'}}, raw=True)\n"
            "await asyncio.sleep(0)\n"
            f"import sys; print('{name} errs', file=sys.stderr)"
        )
        for name in ("left", "right")
    ]
    for worker in workers:
        worker.result(WAIT)
        record = worker.history[0]
        name = worker.name
        assert record.error is None
        assert record.output.stdout.startswith(f"{name} begins\n{name} ends\n")
        assert record.output.stderr == f"{name} errs\n"
        assert record.output.displays == [{"text/plain": f"{name} shows"}]
    printed = capsys.readouterr()
    assert not any(word in printed.out + printed.err for word in ("begins", "ends", "shows", "errs"))


@pytest.mark.parametrize("names", ["", "_worker\n"])
def test_stop_cancels_a_body_that_waits(real, shell, names):
    began = shell.user_ns["began"] = threading.Event()
    worker = real(
        f"%%bgworker -n long 1h\n{names}kept = []\nprint('before')\nbegan.set()\n"
        "try:\n    await asyncio.sleep(3600)\nfinally:\n    kept.append('cleaned')\n    print('after')"
    )
    assert began.wait(WAIT)
    assert worker.status == "running"
    worker.stop()
    assert worker.result(WAIT) is None
    [record] = worker.history
    assert (record.outcome, record.error, record.output.text()) == ("stopped", None, "before\nafter\n")
    assert (worker.status, worker.failure_count, shell.user_ns["kept"]) == ("stopped", 0, ["cleaned"])


def test_timeout_cancels_a_body_that_waits(real):
    worker = real("%bgworker -n slow --timeout 20ms -x 1 1h await asyncio.sleep(3600)")
    assert worker.result(WAIT) is None
    assert (worker.history[0].outcome, worker.overdue_count) == ("overdue", 1)
    table = real("%bgpool history slow")
    assert "◔ overdue" in repr(table)
    assert '<td class="bgpool-overdue">◔ overdue</td>' in table._repr_html_()


def test_log_shows_how_a_run_ended(real, shell, capsys):
    began = shell.user_ns["began"] = threading.Event()
    stopped = real("%%bgworker -n stopped 1h\nbegan.set()\nawait asyncio.sleep(3600)")
    overdue = real("%bgactor -n overdue --timeout 20ms await asyncio.sleep(3600)")
    assert began.wait(WAIT)
    stopped.stop()
    stopped.result(WAIT)
    overdue.result(WAIT)
    capsys.readouterr()
    real("%bgpool log stopped overdue")
    heads = capsys.readouterr().out.splitlines()
    assert [head.split(", ")[3] for head in heads if ", run " in head] == ["stopped", "overdue"]
    assert heads[-1] == "── overdue (once): 1 overdue since its start"


def test_error_after_an_await_has_the_cells_lines_and_no_others(real):
    worker = real("%%bgworker -n broken -x 1 1h\nawait asyncio.sleep(0)\ndef f():\n    1 / 0\nf()")
    with pytest.raises(RuntimeError, match="^the last run of worker 'broken' failed: ZeroDivisionError"):
        worker.result(WAIT)
    job = real("%%bgjob\nawait asyncio.sleep(0)\ndef f():\n    1 / 0\nf()")
    with pytest.raises(ZeroDivisionError):
        job.result(WAIT)
    for error in (worker.last_error, job.error):
        lines = error.traceback.splitlines()
        places = [line for line in lines if line.startswith("  ") and not line.startswith("    ")]
        assert [line.rpartition(", ")[2] for line in places] == ["in <module>", "in f"]
        assert all(", line" in line and "asyncio" not in line for line in places)


@pytest.mark.parametrize("code", ["await asyncio.sleep(0)\nimport sys\nsys.exit()", "await asyncio.sleep(0)\nFalse"])
def test_body_that_waits_may_end_its_worker_and_no_more(real, code):
    worker = real(f"%%bgworker -n last 1h\n{code}")
    worker.result(WAIT)
    assert (worker.history[0].outcome, worker.status) == ("ended", "stopped")
    assert real("%bgactor -n other await asyncio.sleep(0, 'alive')").result(WAIT) == "alive"


def test_jobs_that_wait_share_the_loop_and_keep_their_output(real):
    jobs = [
        real(f"%%bgjob -n job{n}\nprint(_job.name)\nawait asyncio.sleep(0)\nthreading.current_thread().name")
        for n in range(3)
    ]
    assert [job.result(WAIT) for job in jobs] == ["bgpool-loop"] * 3
    assert [job.output.text() for job in jobs] == ["job0\n", "job1\n", "job2\n"]


def test_job_that_waits_is_cancelled_by_stop(real, shell):
    began = shell.user_ns["began"] = threading.Event()
    job = real("%%bgjob\nbegan.set()\nprint('before')\nawait asyncio.sleep(3600)")
    assert began.wait(WAIT)
    job.stop()
    with pytest.raises(concurrent.futures.CancelledError, match="was stopped"):
        job.result(WAIT)
    assert (job.state.value, job.output.text()) == ("cancelled", "before\n")


def test_jobs_of_one_thread_keep_their_output_apart(real):
    real("async def tell(*, _job): print(_job.name)")
    for n in range(3):
        job = real(f"%bgjob -n job{n} tell")
        job.result(WAIT)
        assert job.output.text() == f"job{n}\n"


def test_cell_awaits_a_worker_and_a_job(real):
    real("actor = %bgactor -n later --delay 10ms 6 * 7")
    assert real("await actor") == 42
    real("job = %bgjob 6 * 7")
    assert real("await job") == 42
    real("broken = %bgactor -n broken 1 / 0")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        real("await broken")
