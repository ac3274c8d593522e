"""Options that say when a worker runs, how long, and what happens when it fails; and the preview of it."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from bgpool_jupyter.engine import Cron, Retry

#: The first reading of the virtual wall clock: Friday, 2027-01-15, 08:00 UTC.
START = 1_800_000_000.0


def berlin(month, day, hour, minute):
    return datetime(2027, month, day, hour, minute, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


# -- when


def test_cron(notebook):
    worker = notebook.run('%bgworker -n mail --cron "30 9 * * mon-fri" --tz Europe/Berlin print("sent")')
    assert worker.cron == Cron("30 9 * * mon-fri", "Europe/Berlin")
    assert repr(worker) == "BackgroundWorker('mail', cron 30 9 * * mon-fri Europe/Berlin)"
    assert worker.next_run_time == berlin(1, 15, 9, 30)
    notebook.advance(4 * 86400 + 3600)
    assert [record.due for record in worker.history] == [
        pytest.approx(berlin(1, day, 9, 30), abs=1e-3) for day in (15, 18, 19)
    ]
    assert worker.history[0].output.text() == "sent\n"


def test_cron_of_a_cell_takes_the_machines_zone(notebook):
    worker = notebook.run("%%bgworker --cron='*/5 * * * *' -x 2\nx = _worker.run_count\nx")
    notebook.advance(3600)
    assert [record.value for record in worker.history] == [1, 2]
    assert worker.cron == Cron("*/5 * * * *")


def test_code_behind_cron_is_not_touched(notebook):
    worker = notebook.run('%bgworker --cron "* * * * *" -n w -- -1')
    notebook.advance(60)
    assert worker.last_value == -1
    worker = notebook.run("%bgworker --cron '*/10 * * * * *' -n s  max(3,   4)")
    notebook.advance(60)
    assert (worker.run_count, worker.last_value) == (6, 4)


def test_cron_makes_up_for_missed_slots_if_told(notebook):
    notebook.namespace["clock"] = notebook.pool.clock
    late = "clock.sleep(200) if _worker.run_count == 1 else None"
    dismissed = notebook.run(f"%bgworker --cron '* * * * *' -n a -x 3 {late}")
    notebook.advance(600)
    made_up = notebook.run(f"%bgworker --cron '* * * * *' --catch-up -n b -x 3 {late}")
    notebook.advance(600)
    assert (dismissed.missed_count, made_up.missed_count) == (3, 0)


def test_jitter_and_until(notebook):
    worker = notebook.run("%bgworker 60s --jitter 10s --until 2027-01-15T08:10:30Z 1")
    assert (worker.jitter, worker.until) == (10.0, START + 630)
    notebook.advance(3600)
    assert worker.run_count == 11
    assert all(0 <= record.started - (START + 60 * k) < 10 for k, record in enumerate(worker.history))
    assert worker.status == "stopped"


def test_until_a_time_of_the_local_clock(notebook):
    worker = notebook.run("%bgworker --until 14:30 60s 1")
    assert START < worker.until <= START + 86400
    local = datetime.fromtimestamp(worker.until).astimezone()
    assert (local.hour, local.minute) == (14, 30)


# -- how long, and what when it fails


def test_timeout(notebook):
    notebook.namespace["clock"] = notebook.pool.clock
    worker = notebook.run("%bgworker 60s --timeout 1m30s 1")
    actor = notebook.run("%bgactor --timeout 250ms 1")
    assert (worker.timeout, actor.timeout) == (90.0, 0.25)


def test_retries(notebook):
    worker = notebook.run("%bgworker -n w --retries 3 1h 1 / 0")
    actor = notebook.run("%bgactor -n a --retries 2 1 / 0")
    assert (worker.retry, actor.retry) == (Retry(attempts=3), Retry(attempts=2))
    notebook.advance(600)
    assert [record.attempt for record in worker.history] == [1, 2, 3]
    assert (worker.run_count, worker.failure_count, worker.retry_count) == (1, 3, 2)
    assert (actor.failure_count, actor.status) == (2, "failed")
    assert notebook.run("%bgworker -n r --retry 1h 1").ignore_exception, "its meaning has not changed"


def test_worker_that_fails_too_often_pauses_itself(notebook, capsys):
    notebook.run("level = 0")
    worker = notebook.run("%bgworker -n 'my poll' --max-failures 3 60s 1 / level")
    notebook.advance(600)
    assert (worker.status, worker.failure_count) == ("paused", 3)
    reason = "paused after 3 failures in a row: ZeroDivisionError: division by zero"
    table = notebook.run("%bgpool")
    assert reason[:47] in repr(table)
    assert f">{reason}</td>" in table._repr_html_()
    capsys.readouterr()
    notebook.run("%bgpool log -n 1 'my poll'")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("── my poll (every 1 min), run 3: ")
    assert lines[-1] == f"── my poll (every 1 min): {reason}; %bgpool resume 'my poll' lets it go on"
    notebook.run("level = 1")
    notebook.run("%bgpool resume 'my poll'")
    notebook.advance(60)
    assert (worker.status, worker.last_value) == ("waiting", 1.0)
    assert "paused after" not in repr(notebook.run("%bgpool"))


def test_first_slot_at_an_instant(notebook):
    worker = notebook.run("%bgworker -n save --at 2027-01-15T09:30Z 5m 1")
    cell = notebook.run("%%bgworker -n since 10m --at 2027-01-15T07:30Z\n1")
    table = repr(notebook.run("%bgpool"))
    assert "1.5 h" in table
    notebook.advance(5400 + 600)
    assert [f"{datetime.fromtimestamp(run.started, UTC):%H:%M}" for run in worker.history] == [
        "09:30",
        "09:35",
        "09:40",
    ]
    assert len(cell.history) == 11
    notebook.run("%bgworker -n clock --at 14:30 5m 1")
    assert notebook.pool.find_workers("clock")[0].next_run_time > notebook.pool.clock.time()


def test_what_would_begin_too_late_is_left_out(notebook):
    worker = notebook.run("%bgworker -n alarm --max-lateness 1m 1h 1")
    notebook.advance(0)
    actor = notebook.run("%bgactor -n once --max-lateness 1m --delay 1h 1")
    notebook.pool.clock.sleep(2 * 3600 + 120)
    notebook.advance(0)
    assert (worker.run_count, worker.missed_count) == (1, 2)
    assert (actor.run_count, actor.missed_count, actor.status) == (0, 1, "stopped")
    events = repr(notebook.run("%bgpool events"))
    assert "◌ missed" in events
    assert "1 h 2 min late, at most 1 min" in events


def test_stop_flag_and_sleep_in_a_body(notebook):
    worker = notebook.run(
        "%%bgworker -n copy -x 1 60s\n"
        "stop, slept = _worker.should_stop, _worker.sleep(3)\n"
        "_worker.stop()\n"
        "stop, slept, _worker.should_stop, _worker.sleep(3600)"
    )
    notebook.advance(0)
    assert worker.last_value == (False, True, True, False)
    assert worker.last_duration == 3.0


def test_progress_is_in_the_table_and_in_the_log(notebook):
    worker = notebook.run(
        "%%bgworker -n copy -x 1 60s\n"
        "_worker.progress(2, 5, 'copying\\x1b')\n"
        "print(repr(get_ipython().run_line_magic('bgpool', '')))\n"
        "get_ipython().run_line_magic('bgpool', 'log copy')\n"
        "_worker.progress(3)\n"
        "get_ipython().run_line_magic('bgpool', 'log copy')"
    )
    notebook.advance(0)
    text = worker.history[0].output.text()
    assert "◉ running 40 %" in text
    heads = [line for line in text.splitlines() if line.startswith("── copy (every 1 min), run 1: ")]
    assert heads[0].endswith(r", 40 %, copying\x1b")
    assert heads[1].endswith(", 3 done")


# -- preview


def test_preview(notebook):
    notebook.run("%bgworker -n mail --cron '0 9 * * mon-fri' --tz Europe/Berlin --no-start 1")
    notebook.run("%bgworker -n half -x 3 --no-start 500ms 1")
    notebook.run("%bgactor -n late --no-start --delay 1m 1")
    table = notebook.run("%bgpool preview mail")
    assert [f"{instant:%a %d %H:%M %Z}" for instant in table] == [
        f"{day} 09:00 CET" for day in ("Mon 18", "Tue 19", "Wed 20", "Thu 21", "Fri 22")
    ]
    assert repr(table).splitlines()[0].split("  ")[0] == "name"
    assert [" ".join(line.split()) for line in repr(table).splitlines()][:3:2] == [
        "name schedule next runs if",
        "mail cron 0 9 * * mon-fri Europe/Berlin Mon 2027-01-18 09:00:00 CET started now",
    ]
    assert "<td>Mon 2027-01-18 09:00:00 CET</td>" in table._repr_html_()
    everything = notebook.run("%bgpool preview")
    assert [worker.name for worker in everything.workers] == ["mail"] * 5 + ["half"] * 3 + ["late"]
    assert [line.split()[-4][5:] for line in repr(everything).splitlines()[7:10]] == [":00", ":00.500", ":01"]
    assert len(notebook.run("%bgpool preview --last 7 m*")) == 7
    assert [worker.status for worker in notebook.pool.find_workers()] == ["new"] * 3


def test_preview_of_workers_that_are_started_or_paused(notebook):
    notebook.run("%bgworker -n going 10s 1\n%bgworker -n resting 10s 1")
    notebook.advance(4)
    notebook.run("%bgpool pause resting")
    table = notebook.run("%bgpool preview -n 2")
    now = notebook.pool.clock.time()
    assert [round(instant.timestamp() - now, 3) for instant in table] == [6, 16, 6, 16]
    notebook.run("%bgpool resume")
    notebook.advance(20)
    assert [record.started for record in notebook.pool.find_workers("going")[0].history[1:]] == [
        instant.timestamp() for instant in table[:2]
    ]
    lines = [" ".join(line.split()) for line in repr(table).splitlines()]
    assert [line.endswith("resumed now") for line in lines[2:]] == [False, False, True, True]
    assert not lines[2].endswith("now")


def test_preview_over_a_change_of_the_clock(notebook):
    notebook.pool.clock.set_wall(berlin(3, 26, 12, 0))
    notebook.run("%bgworker -n night --cron '30 2 * * *' --tz Europe/Berlin --no-start 1")
    assert [f"{instant:%d %H:%M %Z}" for instant in notebook.run("%bgpool preview -n 4 night")] == [
        "27 02:30 CET",
        "28 03:00 CEST",
        "29 02:30 CEST",
        "30 02:30 CEST",
    ]


def test_preview_of_nothing(notebook):
    assert repr(notebook.run("%bgpool preview")) == "no runs to come"


# -- what people get wrong


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "--cron */5 * * * * f()",
            (
                "--cron: '*/5' has not five fields; put all of them in quotes, "
                'as in --cron "*/5 * * * *" (%bgworker -h shows the options)'
            ),
        ),
        ("--cron '61 * * * *' 1", "--cron: expression '61 * * * *' is no cron expression: bad minute; "),
        ("--cron '0 0 30 2 *' 1", "--cron: expression '0 0 30 2 *' "),
        ("--cron '* * * * *' --tz Mars/Phobos 1", "--tz: timezone 'Mars/Phobos' is not known; give a name such as "),
        ("--cron '* * * * *' 5s 1", "--cron takes the place of the INTERVAL; leave '5s' out, or --cron"),
        ("5s --cron '* * * * *' 1", "--cron takes the place of the INTERVAL; leave '5s' out, or --cron"),
        ("--cron '* * * * *'", "the code is missing; write %bgworker 5s code, or "),
        ("--cron", "--cron needs a value, as in --cron EXPR"),
        ("--tz UTC 5s 1", "--tz is the time zone of --cron; leave it out, or write --cron "),
        (
            "--cron '* * * * *' --fixed-delay 1",
            "--cron and --fixed-delay exclude each other: the expression says when to run; leave --fixed-delay out",
        ),
        (
            "--cron '* * * * *' --start-with-delay 1",
            "--cron and --start-with-delay exclude each other: the expression says when to run; ",
        ),
        (
            "--cron '* * * * *' --at 14:30 1",
            "--cron and --at exclude each other: the expression says when to run; leave --at out",
        ),
        ("--at 14:30 --start-with-delay 5s 1", "--at and --start-with-delay exclude each other; leave one of them out"),
        ("--at noon 5s 1", "--at must be a time as in 14:30 or ISO 8601 as in 2026-11-22T14:30, not 'noon'"),
        ("--jitter 5 10s 1", "--jitter: the jitter needs a unit, '5' has none; write 5s for seconds or 5m for minutes"),
        ("--jitter 10s 10s 1", "jitter must be less than the interval 10.0, not 10.0; give a smaller one"),
        ("--until soon 5s 1", "--until must be a time as in 14:30 or ISO 8601 as in 2026-11-22T14:30, not 'soon'"),
        ("--until 2020-01-01T00:00 5s 1", "--until 2020-01-01T00:00 has passed; give a time that is still to come"),
        ("--timeout 0s 5s 1", "--timeout: the timeout must be longer than 0, not '0s'; "),
        ("--timeout many 5s 1", "--timeout: the timeout must be a duration, not 'many'; "),
        ("--max-lateness 5 5s 1", "--max-lateness: the lateness needs a unit, '5' has none; "),
        ("--max-lateness 0s 5s 1", "--max-lateness: the lateness must be longer than 0, not '0s'; "),
        ("--retries 0 5s 1", "--retries: '0' is not a whole number from 1 on; give 10 for example"),
        ("--max-failures no 5s 1", "--max-failures: 'no' is not a whole number from 1 on; give 10 for example"),
        (
            "--retry --retries 3 5s 1",
            "--retry and --retries exclude each other: --retry repeats without limit; leave one out",
        ),
    ],
)
def test_bad_option(notebook, line, message):
    assert notebook.refused(f"%bgworker {line}").startswith(message.removesuffix(" (%bgworker -h shows the options)"))


def test_bad_option_of_an_actor_or_a_cell(notebook):
    assert notebook.refused("%bgactor --timeout 5 1").startswith("--timeout: the timeout needs a unit")
    assert notebook.refused("%bgactor --retry --retries 2 1").startswith("--retry and --retries exclude each other")
    assert notebook.refused("%%bgworker --cron '* * * * *' 5s\n1").startswith("--cron takes the place of the INTERVAL")
    assert notebook.refused("%%bgworker --cron '* * * * *' f()\n1").endswith("'f()' is too much; put it there")
    assert notebook.refused("%bgpool stop --last 3").startswith("--last belongs to log, history, events and preview")


def test_log_counts_what_the_table_does_not(notebook, capsys):
    notebook.run("%bgworker -n plain 10s 1")
    notebook.run("%bgworker -n w --retries 2 --timeout 1s 10s 1 / 0 if _worker.run_count == 1 else clock.sleep(2)")
    notebook.namespace["clock"] = notebook.pool.clock
    notebook.advance(10)
    notebook.run("%bgpool pause w")
    notebook.advance(35)
    notebook.run("%bgpool resume w")
    capsys.readouterr()
    notebook.run("%bgpool log w")
    line = "── w (every 10 s): 1 retried, 1 overdue, 3 skipped while it was paused since its start\n"
    assert line in capsys.readouterr().out
    notebook.run("%bgpool log plain")
    assert "since its start" not in capsys.readouterr().out
