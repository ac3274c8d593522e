"""Every public call of a pool, a worker, a job and a feed, so that a test can say "any call" and mean it."""

from __future__ import annotations

import contextlib
import inspect

from bgpool_jupyter.engine import BackgroundWorker, ChangeFeed, Job, PoolError, WorkerPool

#: Not called in a storm, and why.
ELSEWHERE = {
    "WorkerPool.close": "ends the pool: it has tests of its own",
    "WorkerPool.suspend": "nothing would run any more: it is called together with resume",
    "WorkerPool.history_frame": "is made of worker.history; pandas is no part of this",
    "BackgroundWorker.to_frame": "is made of worker.values; pandas is no part of this",
    "Job.cut_off": "the pool's own",
    "Job.execute": "the pool's own",
    "ChangeFeed.mark": "the pool's own",
}


def nothing():
    """Be run."""


def hear(event):
    """Be told of one worker."""


def suspend_and_resume(pool):
    """Let nothing begin for a moment."""
    pool.suspend()
    pool.resume()


def told_and_closed(pool):
    """Be told of one thing."""
    subscription = pool.subscribe(lambda event: None)
    pool.new_actor(nothing).stop()
    subscription.close()


#: Name of the call → how it is made, of a pool and one of its workers.
CALLS = {
    "WorkerPool.changed": lambda pool, worker: pool.changed(worker),
    "WorkerPool.check": lambda pool, worker: pool.check(),
    "WorkerPool.count_jobs": lambda pool, worker: pool.count_jobs(),
    "WorkerPool.epoch": lambda pool, worker: pool.epoch(1.0),
    "WorkerPool.events": lambda pool, worker: pool.events("w*", last=3),
    "WorkerPool.every": lambda pool, worker: pool.every(3600, name="every", start_with_delay=True)(nothing),
    "WorkerPool.find_workers": lambda pool, worker: pool.find_workers("w*", running=True),
    "WorkerPool.jobs": lambda pool, worker: pool.jobs(),
    "WorkerPool.kill_jobs": lambda pool, worker: pool.kill_jobs(0),
    "WorkerPool.monotonic": lambda pool, worker: pool.monotonic(),
    "WorkerPool.new_actor": lambda pool, worker: pool.new_actor(nothing, name="passing", on_event=hear).start(),
    "WorkerPool.new_worker": lambda pool, worker: pool.new_worker(0.001, nothing, name="passing", max_count=2).start(),
    "WorkerPool.now": lambda pool, worker: pool.now(),
    "WorkerPool.pause_worker": lambda pool, worker: pool.pause_worker(worker),
    "WorkerPool.pause_workers": lambda pool, worker: pool.pause_workers("w*"),
    "WorkerPool.remove": lambda pool, worker: pool.remove(worker),
    "WorkerPool.remove_workers": lambda pool, worker: pool.remove_workers(worker.name),
    "WorkerPool.reschedule": lambda pool, worker: pool.reschedule(worker, pool.clock.time() + 0.001),
    "WorkerPool.restart_worker": lambda pool, worker: pool.restart_worker(worker, None),
    "WorkerPool.resume": lambda pool, worker: suspend_and_resume(pool),
    "WorkerPool.run_due": lambda pool, worker: pool.run_due(),
    "WorkerPool.run_job": lambda pool, worker: pool.run_job(nothing),
    "WorkerPool.run_worker_now": lambda pool, worker: pool.run_worker_now(worker),
    "WorkerPool.set_job_balance": lambda pool, worker: pool.set_job_balance(3.0, 100, 2.0),
    "WorkerPool.set_logger": lambda pool, worker: pool.set_logger(lambda text: None),
    "WorkerPool.snapshot": lambda pool, worker: pool.snapshot(),
    "WorkerPool.start_worker": lambda pool, worker: pool.start_worker(worker, {}),
    "WorkerPool.start_workers": lambda pool, worker: pool.start_workers("w*"),
    "WorkerPool.stop_worker": lambda pool, worker: pool.stop_worker(worker),
    "WorkerPool.stop_workers": lambda pool, worker: pool.stop_workers("w*"),
    "WorkerPool.subscribe": lambda pool, worker: told_and_closed(pool),
    "WorkerPool.unpause_worker": lambda pool, worker: pool.unpause_worker(worker, True),
    "WorkerPool.unpause_workers": lambda pool, worker: pool.unpause_workers("w*", immediately=True),
    "WorkerPool.watch": lambda pool, worker: pool.watch().close(),
    "WorkerPool.work_now": lambda pool, worker: pool.work_now("w*"),
    "WorkerPool.worker": lambda pool, worker: pool.worker(worker.id),
    "BackgroundWorker.lints": lambda pool, worker: worker.lints(),
    "BackgroundWorker.pause": lambda pool, worker: worker.pause(),
    "BackgroundWorker.preview": lambda pool, worker: worker.preview(2),
    "BackgroundWorker.progress": lambda pool, worker: worker.progress(1, 2),
    "BackgroundWorker.restart": lambda pool, worker: worker.restart(),
    "BackgroundWorker.result": lambda pool, worker: worker.result(0),
    "BackgroundWorker.sleep": lambda pool, worker: worker.sleep(0),
    "BackgroundWorker.snapshot": lambda pool, worker: worker.snapshot(),
    "BackgroundWorker.stack": lambda pool, worker: worker.stack(),
    "BackgroundWorker.start": lambda pool, worker: worker.start(),
    "BackgroundWorker.stop": lambda pool, worker: worker.stop(),
    "BackgroundWorker.unpause": lambda pool, worker: worker.unpause(),
    "BackgroundWorker.work_now": lambda pool, worker: worker.work_now(),
    "BackgroundWorker.workNow": lambda pool, worker: worker.workNow(),
    "Job.exception": lambda pool, worker: pool.run_job(nothing).exception(0),
    "Job.result": lambda pool, worker: pool.run_job(nothing).result(0),
    "Job.stack": lambda pool, worker: pool.run_job(nothing).stack(),
    "Job.stop": lambda pool, worker: pool.run_job(nothing).stop(),
    "ChangeFeed.close": lambda pool, worker: pool.watch().close(),
    "ChangeFeed.take": lambda pool, worker: _take(pool, worker),
    "ChangeFeed.wait": lambda pool, worker: _take(pool, worker),
    "ChangeFeed.wake": lambda pool, worker: _take(pool, worker),
}


def _take(pool, worker):
    feed = pool.watch()
    worker.name = worker.name
    feed.wait(0)
    feed.take()
    feed.wake()
    feed.close()


def attributes(thing):
    """Read every public attribute that is no method."""
    for name in dir(type(thing)):
        if not name.startswith("_") and not callable(getattr(type(thing), name)):
            getattr(thing, name)


def call(name, pool, worker):
    """Make a call; that it is refused, or times out, is an answer too."""
    with contextlib.suppress(PoolError):
        CALLS[name](pool, worker)


def public_calls():
    """Return the names of all public methods."""
    return {
        f"{kind.__name__}.{name}"
        for kind in (WorkerPool, BackgroundWorker, Job, ChangeFeed)
        for name in dir(kind)
        if not name.startswith("_") and inspect.isroutine(getattr(kind, name))
    }
