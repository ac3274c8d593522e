"""Workers written as magics that make them again."""

from __future__ import annotations

import pytest

from bgpool_jupyter.engine import Retry
from bgpool_jupyter.kernel.export import export_text

LINES = [
    "%bgworker -n plain 5s 1 + 1",
    "%bgworker -x 3 --start-with-delay --catch-up --retry --dispose -n many 1m30s print('$x', {1: 2})",
    "%bgworker --fixed-delay --data 'dict(a=\"b c\")' --finished 'lambda: None' -n eval 250ms print",
    "%bgworker 5s --name behind -1",
    "%bgactor -n soon --delay 1m print('soon')",
    "%bgactor -n 'at it' --at 2126-11-22T14:30Z -- -1",
    "%%bgworker -n body 2h\nif True:\n    print('''three \"quotes\"''', r'\\d')\n\n# a comment with '\n1",
    "%%bgactor -n single\n1",
    "%bgworker -n both --cron '30 9 * * mon-fri | 0 11 * * sat' --tz Europe/Berlin 1",
    "%bgworker -n from --at 2126-11-22T14:30Z --fixed-delay 5m 1",
    "%%bgworker -n since --at 2026-11-22T14:30Z 5m\n1",
    "%bgworker -n late --max-lateness 1m30s 1h 1",
    "%bgactor -n late-once --max-lateness 250ms --at 2126-11-22T14:30Z 1",
    "%bgworker -n heard --on-event 'lambda event: None' 5s 1",
    "%%bgactor -n heard-once --on-event print\n1",
    "%bgworker -n cron --cron '30 9 * * mon-fri' --tz Europe/Berlin --until 2126-11-22T14:30Z --jitter 90s 1 + 1",
    "%bgworker -n dash --cron '* * * * *' -- -x",
    "%bgactor -n -dash --timeout 1m30s --retries 5 -- -x",
    "%bgworker -n much --timeout 250ms --retries 3 --max-failures 4 --jitter 1s --until 2126-11-22T14:30Z 5s 1",
    "%%bgworker -n crons --cron '*/10 * * * * *' --max-failures 2\n1",
    "%%bgactor -n 'with \"both\" quotes' --data 'dict(a=\"b c\")'\n1",
]


def look(worker):
    """Return what a worker is, apart from what it did."""
    return (
        worker.name,
        worker.is_actor,
        worker.schedule,
        worker.at,
        worker.max_count,
        worker.start_with_delay,
        worker.run_on_time,
        worker.run_past_events,
        worker.ignore_exception,
        worker.cron,
        worker.until,
        worker.jitter,
        worker.timeout,
        worker.max_lateness,
        worker.retry,
        worker.max_failures,
        worker.dispose,
        worker.data,
        worker.finished is None,
        worker.on_event is None,
        (worker.source.partition("\n")[2] if worker.source.startswith("%%") else None),
    )


def test_what_was_exported_makes_the_same_workers(notebook, capsys):
    for line in LINES:
        notebook.run(line)
    before = [look(worker) for worker in notebook.pool.find_workers()]
    assert len(before) == len(LINES)
    capsys.readouterr()
    assert notebook.run("%bgpool export") is None
    text = capsys.readouterr().out
    notebook.run("%bgpool remove *")
    notebook.run(text)
    assert [look(worker) for worker in notebook.pool.find_workers()] == before
    capsys.readouterr()
    notebook.run("%bgpool export")
    assert capsys.readouterr().out == text, "and once more"


def test_what_it_looks_like(notebook, capsys):
    notebook.run("%bgworker 5s print(1)")
    notebook.run("%%bgworker 500ms --name body\nx = 1\nprint(x)")
    notebook.pool.new_worker(2, print, name="from\npython")
    capsys.readouterr()
    notebook.run("%bgpool export")
    assert capsys.readouterr().out == (
        "%bgworker --name print 5s print(1)\n"
        "get_ipython().run_cell_magic(\"bgworker\", '--name body 500ms', (\n"
        "    'x = 1\\n'\n"
        "    'print(x)\\n'\n"
        "))\n"
        "# from\\npython (every 2 s) was made from Python: no magic can make it\n"
    )
    notebook.run("%bgpool export bo*")
    assert capsys.readouterr().out.count("bgworker") == 1


def test_changes_since_then_are_exported(notebook):
    worker = notebook.run("%bgworker -n w 5s 1")
    worker.restart(0.25)
    worker.name = "renamed"
    worker.max_count = 7
    assert export_text([worker]) == "%bgworker --name renamed --max-count 7 250ms 1"
    worker.timeout, worker.jitter, worker.retry, worker.max_failures = 90, 0.1, 5, 3
    assert export_text([worker]) == (
        "%bgworker --name renamed --jitter 100ms --max-count 7 --max-failures 3 --timeout 1m30s --retries 5 250ms 1"
    )
    worker.retry = Retry()
    assert " --retry " in export_text([worker])
    worker.retry, worker.ignore_exception = 2, True
    assert " --retries 2 " in export_text([worker])
    assert " --retry " not in export_text([worker]), "the count decides, and a magic takes one of them"
    worker.retry, worker.ignore_exception = None, False
    assert "--retr" not in export_text([worker])


def test_nothing(notebook, capsys):
    notebook.run("%bgpool export")
    assert capsys.readouterr().out == "# no workers\n"


@pytest.mark.parametrize("name", ["-n", "a'b", 'a"b', "a b", "ä", "x\ty", "$HOME", "--", "a\\b"])
def test_hostile_names(notebook, name):
    worker = notebook.run("%bgworker -n w 5s 1")
    worker.name = name
    text = export_text([worker])
    notebook.run("%bgpool remove *")
    notebook.run(text)
    assert [worker.name for worker in notebook.pool.find_workers()] == [name]
