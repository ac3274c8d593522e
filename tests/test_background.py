"""The reference class: every name, signature and default, and a program written for it."""

from __future__ import annotations

import inspect
import re
import threading

import pytest

from bgpool_jupyter import BackgroundWorker, BackgroundWorkerPool, Job, WorkerPool, default_pool

PATIENCE = 20.0

#: The reference page's class methods: name → parameters with their defaults.
REFERENCE = {
    "countJobs": "()",
    "findWorkers": "(name=None, running=None)",
    "killJobs": "()",
    "newActor": (
        "(workerCallback, delay=0.0, at=None, name=None, dispose=True, finished=None, ignoreException=False, data=None)"
    ),
    "newWorker": (
        "(interval, workerCallback, name=None, startWithDelay=False, maxCount=None, dispose=True, "
        "runOnTime=True, runPastEvents=False, finished=None, ignoreException=False, data=None)"
    ),
    "removeWorkers": "(name)",
    "runJob": "(task, name=None)",
    "setJobBalance": "(balanceTarget=3.0, balanceLatency=1000, balanceReduceFactor=2.0)",
    "setLogger": "(logger)",
    "stopWorkers": "(name=None)",
    "_execQueue": "()",
    "_queueWorker": "(ts, worker)",
    "_removeBackgroundWorkerFromPool": "(worker)",
    "_startTimer": "()",
    "_stopTimer": "()",
    "_unqueueWorker": "(worker)",
}
VARIABLES = ["backgroundWorkers", "queueLock", "timerLock", "workerQueue", "workerTimer"]
WORKER_METHODS = {
    "start": "(self, /, **kwargs)",
    "stop": "(self)",
    "restart": "(self, interval=None)",
    "pause": "(self)",
    "unpause": "(self, immediately=False)",
    "workNow": "(self)",
}
WORKER_ATTRIBUTES = [
    "interval",
    "runOnTime",
    "runPastEvents",
    "nextRunTime",
    "callback",
    "running",
    "executing",
    "name",
    "startWithDelay",
    "maxCount",
    "numberOfRuns",
    "dispose",
    "finished",
    "ignoreException",
    "id",
    "data",
    "args",
]


def bare(function):
    signature = inspect.signature(function)
    plain = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))


def snake(name):
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower().replace("worker_callback", "callback")


@pytest.fixture(autouse=True)
def _own_pool():
    yield
    default_pool().close(PATIENCE)


@pytest.mark.parametrize("name", REFERENCE)
def test_signature_of_the_reference(name):
    assert bare(getattr(BackgroundWorkerPool, name)) == REFERENCE[name]
    assert isinstance(inspect.getattr_static(BackgroundWorkerPool, name), classmethod)


def test_nothing_else_is_public():
    public = {name for name in vars(BackgroundWorkerPool) if not name.startswith("_")}
    assert public == {name for name in REFERENCE if not name.startswith("_")} | set(VARIABLES)


@pytest.mark.parametrize("name", [name for name in REFERENCE if not name.startswith("_")])
def test_the_other_spelling_has_the_same_parameters(name):
    ours = inspect.signature(getattr(WorkerPool, snake(name))).parameters
    theirs = inspect.signature(getattr(BackgroundWorkerPool, name)).parameters
    expected = [(snake(parameter.name), parameter.default) for parameter in theirs.values()]
    found = [(parameter.name, parameter.default) for parameter in ours.values() if parameter.name != "self"]
    assert found[: len(expected)] == expected
    assert all(default is not inspect.Parameter.empty for _, default in found[len(expected) :])


@pytest.mark.parametrize("name", WORKER_METHODS)
def test_signature_of_the_worker(name):
    assert bare(getattr(BackgroundWorker, name)) == WORKER_METHODS[name]


@pytest.mark.parametrize("name", WORKER_ATTRIBUTES)
def test_attributes_of_the_worker_in_both_spellings(name):
    worker = BackgroundWorkerPool.newWorker(1, print)
    other = {"numberOfRuns": "run_count"}.get(name, snake(name))
    assert getattr(worker, name) == getattr(worker, other)


def test_a_setting_can_be_written_in_both_spellings():
    worker = BackgroundWorkerPool.newWorker(1, print)
    worker.maxCount = 3
    assert worker.max_count == 3
    worker.ignore_exception = True
    assert worker.ignoreException is True


def test_it_cannot_be_instantiated():
    with pytest.raises(TypeError, match="^BackgroundWorkerPool has no instances; call its class methods"):
        BackgroundWorkerPool()


def test_class_variables():
    worker = BackgroundWorkerPool.newWorker(60, print, startWithDelay=True, name="w").start()
    assert BackgroundWorkerPool.backgroundWorkers == {worker.id: worker}
    ((due, number, name),) = BackgroundWorkerPool.workerQueue
    assert (number, name) == (worker.id, "w")
    assert due == pytest.approx(worker.nextRunTime, abs=1)
    assert BackgroundWorkerPool.workerTimer.is_alive()
    assert 0 < (BackgroundWorkerPool.workerTimer.interval or 0) <= 60
    with BackgroundWorkerPool.queueLock, BackgroundWorkerPool.timerLock:
        worker.stop()
    assert len(BackgroundWorkerPool.workerQueue) == 0
    assert not BackgroundWorkerPool.workerTimer.is_alive()


def test_private_methods_do_what_their_names_say():
    ran = threading.Event()
    worker = BackgroundWorkerPool.newWorker(3600, ran.set, startWithDelay=True).start()
    BackgroundWorkerPool._stopTimer()
    BackgroundWorkerPool._queueWorker(0, worker)
    assert not ran.wait(0.05)  # the timer is stopped: there is nothing to wait for
    BackgroundWorkerPool._startTimer()
    assert ran.wait(PATIENCE)
    BackgroundWorkerPool._unqueueWorker(worker)
    assert worker.nextRunTime is None
    BackgroundWorkerPool._execQueue()
    BackgroundWorkerPool._removeBackgroundWorkerFromPool(worker)
    assert BackgroundWorkerPool.findWorkers() == []


def test_the_default_pool_is_made_anew_after_it_was_closed():
    first = default_pool()
    assert default_pool() is first
    first.close()
    assert default_pool() is not first
    assert BackgroundWorkerPool.findWorkers() == []


def test_a_program_written_for_the_reference_runs():
    results = []
    ended, polled = threading.Event(), threading.Event()

    def poll(_data, _worker, step):
        _data.append(step)
        if _worker.numberOfRuns == 3:
            polled.set()
            return False
        return True

    def done(_data, _worker, step):
        results.append((list(_data), _worker.numberOfRuns, step))
        ended.set()

    messages = []
    BackgroundWorkerPool.setLogger(messages.append)
    data = []
    worker = BackgroundWorkerPool.newWorker(0.01, poll, "poller", finished=done, data=data).start(step=7)
    assert isinstance(worker, BackgroundWorker)
    assert worker.args == {"step": 7}
    assert polled.wait(PATIENCE)
    assert ended.wait(PATIENCE)
    assert results == [([7, 7, 7], 3, 7)]
    assert BackgroundWorkerPool.findWorkers("poll*") == []

    hit = threading.Event()
    actor = BackgroundWorkerPool.newActor(hit.set, delay=0.01, name="later").start()
    assert hit.wait(PATIENCE)
    assert actor.maxCount == 1

    job = BackgroundWorkerPool.runJob(lambda: 6 * 7, name="sum")
    assert isinstance(job, Job)
    assert job.result(PATIENCE) == 42
    assert BackgroundWorkerPool.countJobs()[0] == 0
    BackgroundWorkerPool.setJobBalance(2.0, 100, 2.0)
    keep = BackgroundWorkerPool.newWorker(3600, print, name="keep", startWithDelay=True, dispose=False).start()
    assert BackgroundWorkerPool.stopWorkers("k*p") == [keep]
    assert BackgroundWorkerPool.findWorkers("keep", running=False) == [keep]
    assert BackgroundWorkerPool.removeWorkers("*") == [keep]
    BackgroundWorkerPool.killJobs()
    assert messages == []
