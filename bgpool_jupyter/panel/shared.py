"""One model a pool: the panels of a pool share it, and the last one closes it."""

from __future__ import annotations

import threading

from ..background import default_pool
from ..engine import WorkerPool
from .model import PoolModel

__all__ = ["acquire", "release"]

_lock = threading.Lock()
#: Models by id() of their pool, with the count of panels that show it. A model keeps its pool alive.
_models: dict[int, tuple[PoolModel, int]] = {}


def acquire(pool: WorkerPool | None) -> PoolModel:
    """Return the model of a pool (None: the default pool), a new one if no panel shows it; give it back by release().

    Notes
    -----
    Threads: may be called from any thread.
    """
    with _lock:
        chosen = default_pool() if pool is None else pool
        model, users = _models.get(id(chosen), (None, 0))
        if model is None:
            model = PoolModel(chosen)
        _models[id(model.pool)] = (model, users + 1)
        return model


def release(model: PoolModel) -> None:
    """Give a model back; the last one who does closes it.

    Notes
    -----
    Threads: may be called from any thread; waits for at most two seconds for the publisher's end.
    """
    with _lock:
        _, users = _models[id(model.pool)]
        if users > 1:
            _models[id(model.pool)] = (model, users - 1)
            return
        del _models[id(model.pool)]
    model.close()
