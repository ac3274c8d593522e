"""Messages of the page: right ones are done, wrong ones get one sentence and do nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpool_jupyter.engine import PoolError
from bgpool_jupyter.panel.commands import Command, PoolCommand, Request, perform, read_message, read_view
from bgpool_jupyter.testing import ManualPool

GOOD = {"kind": "command", "token": "t", "verb": "stop", "ids": [1, 2]}
POOL = {"kind": "pool", "token": "t", "verb": "resume"}


def test_command_is_read() -> None:
    assert read_message(GOOD) == Command("t", "stop", (1, 2))


@pytest.mark.parametrize("verb", ["suspend", "resume"])
def test_pool_command_is_read(verb: str) -> None:
    assert read_message({"kind": "pool", "token": "t", "verb": verb}) == PoolCommand("t", verb)


def test_ids_named_twice_are_done_once() -> None:
    assert read_message(GOOD | {"ids": [3, 1, 3]}) == Command("t", "stop", (3, 1))


@pytest.mark.parametrize(
    ("message", "request_"),
    [
        ({"kind": "hello", "client": "a"}, Request("hello", "a")),
        ({"kind": "keep", "client": "a"}, Request("keep", "a")),
        ({"kind": "sleep", "client": "a"}, Request("sleep", "a")),
        ({"kind": "window", "client": "a", "ids": [4]}, Request("window", "a", (4,))),
        ({"kind": "look", "client": "a", "id": 4}, Request("look", "a", (4,))),
        ({"kind": "look", "client": "a", "id": None}, Request("look", "a", ())),
        ({"kind": "stack", "client": "a", "id": 4}, Request("stack", "a", (4,))),
        ({"kind": "stack", "client": "a", "id": None}, Request("stack", "a", ())),
    ],
)
def test_request_is_read(message: dict[str, Any], request_: Request) -> None:
    assert read_message(message) == request_


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (None, "the message must be an object, not None"),
        ([], "the message must be an object, not list"),
        ("stop", "the message must be an object, not 'stop'"),
        ({}, "kind must be a text, not None"),
        ({"kind": []}, "kind must be a text, not list"),
        ({"kind": "eval"}, "kind must be one of hello, keep, sleep, window, look, stack, command, pool, not 'eval'"),
        ({"kind": "hello"}, "the message lacks the field 'client'; it must have client, kind"),
        ({"kind": "hello", "client": ""}, "client must have 1 to 64 characters, not 0"),
        ({"kind": "hello", "client": "x" * 65}, "client must have 1 to 64 characters, not 65"),
        ({"kind": "hello", "client": 7}, "client must be a text, not 7"),
        (
            {"kind": "hello", "client": "a", "ids": []},
            "the message has the unknown field 'ids'; it may have client, kind",
        ),
        (GOOD | {"verb": "STOP"}, "verb must be one of start, pause, resume, run, stop, remove, not 'STOP'"),
        (GOOD | {"verb": "__class__"}, "verb must be one of start, pause, resume, run, stop, remove, not '__class__'"),
        (GOOD | {"verb": {"a": 1}}, "verb must be a text, not dict"),
        (GOOD | {"token": None}, "token must be a text, not None"),
        (GOOD | {"ids": 1}, "ids must be a list, not 1"),
        (GOOD | {"ids": {"0": 1}}, "ids must be a list, not dict"),
        (GOOD | {"ids": [True]}, "each of ids must be a whole number, not True"),
        (GOOD | {"ids": [1.0]}, "each of ids must be a whole number, not 1.0"),
        (GOOD | {"ids": ["1"]}, "each of ids must be a whole number, not '1'"),
        (GOOD | {"ids": [-1]}, "each of ids must be from 0 to 2**53, not -1"),
        (GOOD | {"ids": [2**53]}, "each of ids must be from 0 to 2**53, not 9007199254740992"),
        (GOOD | {"ids": [None]}, "each of ids must be a whole number, not None"),
        (GOOD | {"ids": [1] * 100_001}, "ids must have at most 100,000 entries, not 100,001"),
        (GOOD | {"interval": 1}, "the message has the unknown field 'interval'; it may have ids, kind, token, verb"),
        (GOOD | {"verb": "suspend"}, "verb must be one of start, pause, resume, run, stop, remove, not 'suspend'"),
        (POOL | {"verb": "close"}, "verb must be one of suspend, resume, not 'close'"),
        (POOL | {"verb": "stop"}, "verb must be one of suspend, resume, not 'stop'"),
        (POOL | {"verb": ["suspend"]}, "verb must be a text, not list"),
        (POOL | {"token": ""}, "token must have 1 to 64 characters, not 0"),
        (POOL | {"token": 1}, "token must be a text, not 1"),
        (POOL | {"ids": [1]}, "the message has the unknown field 'ids'; it may have kind, token, verb"),
        ({"kind": "pool", "token": "t"}, "the message lacks the field 'verb'; it must have kind, token, verb"),
        ({"kind": "pool", "verb": "resume"}, "the message lacks the field 'token'; it must have kind, token, verb"),
        ({"kind": "window", "client": "a", "ids": [1] * 101}, "ids must have at most 100 entries, not 101"),
        ({"kind": "look", "client": "a", "id": "1"}, "id must be a whole number, not '1'"),
        ({"kind": "stack", "client": "a", "id": True}, "id must be a whole number, not True"),
        ({"kind": "stack", "client": "a"}, "the message lacks the field 'id'; it must have client, id, kind"),
        (
            {"kind": "command", "token": "t", "verb": "stop"},
            "the message lacks the field 'ids'; it must have ids, kind, token, verb",
        ),
    ],
)
def test_wrong_message_is_one_sentence(message: Any, sentence: str) -> None:
    with pytest.raises(PoolError) as caught:
        read_message(message)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (5, "the view state must be an object, not 5"),
        (
            {"_esm": "alert(1)"},
            "the page may not write '_esm'; it writes pattern, status, sort, descending, selected, refresh, tab",
        ),
        (
            {"height": 5},
            "the page may not write 'height'; it writes pattern, status, sort, descending, selected, refresh, tab",
        ),
        ({"pattern": 5}, "pattern must be a text, not 5"),
        ({"pattern": "x" * 201}, "pattern must have at most 200 characters, not 201"),
        (
            {"status": "gone"},
            "status must be one of all, running, waiting, paused, failed, stopped, marked, not 'gone'",
        ),
        ({"sort": 1}, "sort must be a text, not 1"),
        ({"descending": 1}, "descending must be true or false, not 1"),
        ({"selected": "1"}, "selected must be a whole number, not '1'"),
        ({"refresh": 3}, "refresh must be one of 0, 1, 2, 4, 10, not 3"),
        ({"refresh": True}, "refresh must be a whole number, not True"),
        ({"refresh": "4"}, "refresh must be a whole number, not '4'"),
        ({"tab": "html"}, "tab must be one of output, error, stack, runs, source, not 'html'"),
    ],
)
def test_wrong_view_state_is_one_sentence(state: Any, sentence: str) -> None:
    with pytest.raises(PoolError) as caught:
        read_view(state)
    assert str(caught.value) == sentence


def test_view_state_is_read() -> None:
    state = {"pattern": "a*", "status": "failed", "sort": "runs", "descending": True, "selected": None, "tab": "runs"}
    assert read_view(state) == state


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    json_values
    | st.fixed_dictionaries({}, optional=dict.fromkeys(["kind", "token", "verb", "ids", "client"], json_values))
)
def test_no_message_raises_anything_else(message: Any) -> None:
    text = ""
    try:
        read_message(message)
    except PoolError as error:
        text = str(error)
    assert "\n" not in text
    assert len(text) < 300


# ---------------------------------------------------------------------------------------- what is done


def ids(pool: ManualPool) -> list[int]:
    return [worker.id for worker in pool.find_workers()]


def do(pool: ManualPool, verb: str, *targets: int) -> tuple[bool, str]:
    return perform(pool, Command("t", verb, targets or tuple(ids(pool))))


def three(pool: ManualPool) -> None:
    for name in "abc":
        pool.new_worker(10, lambda: None, name=name, dispose=False)


def test_start_and_stop_say_how_many(pool: ManualPool) -> None:
    three(pool)
    assert do(pool, "start") == (True, "Started 3")
    assert [worker.running for worker in pool.find_workers()] == [True] * 3
    assert do(pool, "stop") == (True, "Stopped 3")
    assert [worker.running for worker in pool.find_workers()] == [False] * 3


def test_start_leaves_a_started_worker_alone(pool: ManualPool) -> None:
    three(pool)
    first = pool.find_workers("a")[0].start()
    pool.clock.advance(25)
    runs = first.run_count
    assert do(pool, "start") == (True, "Started 2 of 3; 1 already started")
    assert first.run_count == runs


def test_start_gives_the_arguments_of_the_last_start(pool: ManualPool) -> None:
    seen: list[int] = []
    worker = pool.new_worker(10, lambda step: seen.append(step), dispose=False).start(step=7)
    pool.clock.advance(0)
    worker.stop()
    assert do(pool, "start") == (True, "Started 1")
    pool.clock.advance(0)
    assert seen == [7, 7]


def test_pause_and_resume(pool: ManualPool) -> None:
    three(pool)
    do(pool, "start")
    assert do(pool, "pause", *ids(pool)[:2]) == (True, "Paused 2")
    assert do(pool, "pause") == (True, "Paused 1 of 3; 2 already paused")
    assert do(pool, "resume") == (True, "Resumed 3")
    assert do(pool, "resume") == (True, "Resumed 0 of 3; 3 not paused")


def test_run_now(pool: ManualPool) -> None:
    worker = pool.new_worker(10, lambda: None, start_with_delay=True).start()
    assert do(pool, "run") == (True, "Running now: 1")
    pool.clock.advance(0)
    assert worker.run_count == 1


def test_what_the_state_does_not_allow_is_told_in_the_engine_s_words(pool: ManualPool) -> None:
    pool.new_worker(10, lambda: None, name="fresh")
    ok, text = do(pool, "run")
    assert not ok
    assert "fresh" in text
    ok, text = do(pool, "pause")
    assert not ok
    assert "fresh" in text


def test_some_refused_some_done(pool: ManualPool) -> None:
    three(pool)
    pool.start_workers("a")
    ok, text = do(pool, "run")
    assert not ok
    assert text.startswith("Running now: 1 of 3; 2 refused: ")


def test_remove(pool: ManualPool) -> None:
    three(pool)
    gone = ids(pool)[0]
    assert do(pool, "remove", gone) == (True, "Removed 1")
    assert gone not in ids(pool)
    assert do(pool, "remove", gone) == (False, "Removed 0 of 1; 1 no longer in the pool")


def do_pool(pool: ManualPool, verb: str) -> tuple[bool, str]:
    return perform(pool, PoolCommand("t", verb))


def test_suspend_and_resume_the_pool(pool: ManualPool) -> None:
    worker = pool.new_worker(10, lambda: None).start()
    assert do_pool(pool, "suspend") == (True, "Suspended the pool")
    assert pool.suspended
    pool.clock.advance(60)
    assert (worker.run_count, worker.status) == (0, "waiting")
    assert do_pool(pool, "suspend") == (True, "The pool is suspended already")
    assert do_pool(pool, "resume") == (True, "Resumed the pool")
    assert not pool.suspended
    pool.clock.advance(0)
    assert worker.run_count > 0
    assert do_pool(pool, "resume") == (True, "The pool is not suspended")


def test_resumed_pool_leaves_paused_workers_paused(pool: ManualPool) -> None:
    three(pool)
    do(pool, "start")
    do(pool, "pause", ids(pool)[0])
    do_pool(pool, "suspend")
    assert do_pool(pool, "resume") == (True, "Resumed the pool; 1 worker stays paused")
    do(pool, "pause")
    do_pool(pool, "suspend")
    assert do_pool(pool, "resume") == (True, "Resumed the pool; 3 workers stay paused")
    assert [worker.status for worker in pool.find_workers()] == ["paused"] * 3


def test_what_waits_for_a_suspended_pool_is_said(pool: ManualPool) -> None:
    three(pool)
    pool.suspend()
    held = "; the pool is suspended, no run begins"
    assert do(pool, "start", *ids(pool)[:2]) == (True, f"Started 2{held}")
    assert do(pool, "start") == (True, f"Started 1 of 3; 2 already started{held}")
    assert do(pool, "run") == (True, f"Running now: 3{held}")
    assert do(pool, "pause") == (True, "Paused 3")
    assert do(pool, "resume") == (True, f"Resumed 3{held}")
    assert do(pool, "resume") == (True, "Resumed 0 of 3; 3 not paused")
    assert do(pool, "stop") == (True, "Stopped 3")
    pool.resume()
    assert do(pool, "start") == (True, "Started 3")


def test_unknown_workers_are_counted(pool: ManualPool) -> None:
    three(pool)
    do(pool, "start")
    assert do(pool, "stop", ids(pool)[0], 999) == (True, "Stopped 1 of 2; 1 no longer in the pool")


def test_closed_pool_answers(pool: ManualPool) -> None:
    three(pool)
    known = ids(pool)
    pool.close()
    ok, text = do(pool, "start", *known)
    assert not ok
    assert text
    for verb in ("suspend", "resume"):
        assert do_pool(pool, verb) == (False, "the pool is closed")
    assert not pool.suspended
