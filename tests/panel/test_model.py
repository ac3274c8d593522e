"""PoolModel: one writer, immutable values, true to the pool."""

from __future__ import annotations

import threading
from types import MappingProxyType
from typing import Any

import pytest
import traitlets

from bgpool_jupyter.engine import PoolError, WorkerPool
from bgpool_jupyter.panel import PoolModel
from bgpool_jupyter.panel import model as model_module
from bgpool_jupyter.panel.model import PoolChange
from bgpool_jupyter.testing import ManualPool


@pytest.fixture
def model(pool: ManualPool) -> PoolModel:
    return PoolModel(pool, start=False)


def publishers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "bgpool-publisher"]


def test_new_model_has_the_picture_at_once(pool: ManualPool) -> None:
    worker = pool.new_worker(5, lambda: None, name="poll").start()
    model = PoolModel(pool, start=False)
    assert model.total == 1
    assert model.workers[worker.id].name == "poll"
    assert model.counts == {"new": 0, "waiting": 1, "running": 0, "paused": 0, "failed": 0, "stopping": 0, "stopped": 0}
    assert (model.revision, model.closed) == (1, False)
    assert len(model.epoch) == 32


def test_empty_pool_has_zero_of_everything(model: PoolModel) -> None:
    assert (model.total, sum(model.counts.values()), len(model.counts)) == (0, 0, 7)


def test_step_takes_what_changed(pool: ManualPool, model: PoolModel) -> None:
    first = pool.new_worker(5, lambda: None, name="a", dispose=False).start()
    second = pool.new_worker(5, lambda: None, name="b", dispose=False)
    model.step()
    assert [each.name for each in model.workers.values()] == ["a", "b"]
    assert isinstance(model.change, PoolChange)
    assert [each.id for each in model.change.updated] == [first.id, second.id]
    first.pause()
    model.step()
    assert model.change.updated == (model.workers[first.id],)
    assert model.counts["paused"] == 1
    pool.remove(second)
    model.step()
    assert model.change == PoolChange(model.revision, (), (second.id,))
    assert model.total == 1


def test_a_suspension_is_seen_although_no_worker_changes(pool: ManualPool, model: PoolModel) -> None:
    pool.suspend()
    model.step()
    assert model.suspended
    assert model.change == PoolChange(model.revision, (), ())
    pool.resume()
    model.step()
    assert not model.suspended


def test_remarks_that_time_alone_makes_are_found(pool: ManualPool, model: PoolModel) -> None:
    seen: list[tuple[str, ...]] = []

    def work() -> None:
        for _ in range(3):
            pool.clock.sleep(4)
            model.step()
            seen.append(model.workers[worker.id].lints)

    worker = pool.new_worker(3600, work, dispose=False).start()
    pool.clock.advance(0)
    assert seen == [(), ("deaf",), ("deaf",)]


def test_looks_for_such_remarks_are_bounded_and_reach_all(pool: ManualPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "_MOST_AGED", 4)
    ids = {pool.new_worker(1, lambda: None, dispose=False).start().id for _ in range(10)}
    pool.suspend()
    model = PoolModel(pool, start=False)
    asked: list[set[int]] = []
    snapshot = pool.snapshot
    monkeypatch.setattr(pool, "snapshot", lambda chosen: asked.append(set(chosen)) or snapshot(chosen))
    for _ in range(3):
        pool.clock.advance(2)
        model.step()
    assert [len(each) for each in asked] == [4, 4, 4]
    assert set().union(*asked) == ids
    model.step()
    assert len(asked) == 3  # once a second


def test_nothing_changed_writes_nothing(pool: ManualPool, model: PoolModel) -> None:
    pool.new_worker(5, lambda: None)
    model.step()
    seen: list[Any] = []
    model.observe(seen.append)
    before = model.workers
    model.step()
    assert seen == []
    assert model.workers is before


def test_every_picture_is_a_new_value(pool: ManualPool, model: PoolModel) -> None:
    pool.new_worker(5, lambda: None, name="a")
    model.step()
    first = model.workers
    pool.new_worker(5, lambda: None, name="b")
    model.step()
    assert len(first) == 1
    assert len(model.workers) == 2
    assert isinstance(model.workers, MappingProxyType)


def test_restarted_worker_keeps_its_place(pool: ManualPool, model: PoolModel) -> None:
    first = pool.new_worker(5, lambda: None, name="a").start()
    pool.new_worker(5, lambda: None, name="b").start()
    model.step()
    first.stop()  # dispose: it leaves the pool
    pool.clock.advance(0)
    model.step()
    assert [each.name for each in model.workers.values()] == ["b"]
    first.start()
    model.step()
    assert [each.name for each in model.workers.values()] == ["a", "b"]


@pytest.mark.parametrize("name", ["workers", "total", "counts", "revision", "suspended", "closed", "epoch", "change"])
def test_nobody_else_writes(model: PoolModel, name: str) -> None:
    with pytest.raises(traitlets.TraitError):
        setattr(model, name, getattr(model, name))


def test_revision_is_written_last(pool: ManualPool, model: PoolModel) -> None:
    seen: list[tuple[int, int]] = []
    model.observe(lambda _: seen.append((model.total, model.counts["new"])), "revision")
    pool.new_worker(5, lambda: None)
    model.step()
    assert seen == [(1, 1)]


def test_observer_that_raises_harms_nobody(
    pool: ManualPool, model: PoolModel, caplog: pytest.LogCaptureFixture
) -> None:
    def bad(_: Any) -> None:
        raise RuntimeError("observer")

    seen: list[Any] = []
    model.observe(bad, "workers")
    model.observe(seen.append, "revision")
    pool.new_worker(5, lambda: None)
    model.step()
    assert len(seen) == 1
    assert model.total == 1
    assert "an observer of PoolModel.workers raised" in caplog.text


def test_listener_hears_every_look_until_it_is_undone(pool: ManualPool, model: PoolModel) -> None:
    heard: list[PoolChange | None] = []

    def listen(change: PoolChange | None) -> bool:
        heard.append(change)
        return change is None

    undo = model.on_tick(listen)
    assert model.step() is True
    pool.new_worker(5, lambda: None)
    assert model.step() is False
    undo()
    model.step()
    assert [change is None for change in heard] == [True, False]


def test_listener_that_raises_harms_nobody(model: PoolModel, caplog: pytest.LogCaptureFixture) -> None:
    def bad(_: Any) -> bool:
        raise RuntimeError("listener")

    model.on_tick(bad)
    assert model.step() is False
    assert "a listener of a PoolModel raised" in caplog.text


def test_closed_pool_is_told(pool: ManualPool, model: PoolModel) -> None:
    pool.new_worker(5, lambda: None).start()
    model.step()
    pool.close()
    model.step()
    assert model.closed is True


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"pool": 5}, "pool must be a WorkerPool, not int; give pool=None for the default pool"),
        ({"period": "1"}, "period must be a number, not str; give seconds from 0.05 on, for example 0.25"),
        ({"period": True}, "period must be a number, not bool; give seconds from 0.05 on, for example 0.25"),
        (
            {"period": 0.01},
            "period must be from 0.05 to 3600 seconds, not 0.01; give seconds from 0.05 on, for example 0.25",
        ),
        (
            {"period": float("nan")},
            "period must be from 0.05 to 3600 seconds, not nan; give seconds from 0.05 on, for example 0.25",
        ),
    ],
)
def test_bad_arguments(pool: ManualPool, arguments: dict[str, Any], sentence: str) -> None:
    before = len(publishers())
    with pytest.raises(PoolError) as caught:
        PoolModel(**({"pool": pool} | arguments))
    assert str(caught.value) == sentence
    assert len(publishers()) == before


def test_repr_is_the_same_from_run_to_run(model: PoolModel) -> None:
    assert repr(model) == "PoolModel('manual')"


# ------------------------------------------------------------------------------- the publisher's thread


def test_publisher_follows_a_living_pool() -> None:
    pool = WorkerPool(name="live")
    model = PoolModel(pool, period=0.05)
    seen = threading.Event()
    threads = set()

    def observe(_: Any) -> None:
        threads.add(threading.current_thread().name)
        if any(each.run_count for each in model.workers.values()):
            seen.set()

    model.observe(observe, "revision")
    pool.new_worker(0.05, lambda: None).start()
    assert seen.wait(10)
    assert threads == {"bgpool-publisher"}
    assert len(publishers()) == 1
    model.close()
    model.close()
    assert publishers() == []
    pool.close()


def test_publisher_ends_with_the_pool() -> None:
    pool = WorkerPool(name="ends")
    model = PoolModel(pool, period=0.05)
    closed = threading.Event()
    model.observe(lambda _: closed.set(), "closed")
    pool.close()
    assert closed.wait(10)
    for thread in publishers():
        thread.join(10)
    assert publishers() == []
    model.close()


def test_busy_pool_is_looked_at_four_times_a_second() -> None:
    pool = WorkerPool(name="busy")
    model = PoolModel(pool)
    enough = threading.Event()
    pool.new_worker(0.01, lambda: enough.set() if worker.run_count >= 100 else None)
    worker = pool.find_workers()[0].start()
    first = model.revision
    assert enough.wait(30)
    seconds = worker.history[-1].ended - worker.history[0].started
    assert model.revision - first <= seconds / 0.25 + 3
    model.close()
    pool.close()


def test_observer_may_close_the_model() -> None:
    pool = WorkerPool(name="self")
    model = PoolModel(pool, period=0.05)
    closed = threading.Event()

    def observe(_: Any) -> None:
        model.close()
        closed.set()

    model.observe(observe, "revision")
    pool.new_worker(5, lambda: None)
    assert closed.wait(10)
    model.close()
    assert publishers() == []
    pool.close()
