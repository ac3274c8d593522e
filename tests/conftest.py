"""Settings that all tests share."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Generator

import hypothesis
import pytest

from bgpool_jupyter.engine import WorkerPool

# The two slow cores of a small CI machine must not turn a right result into a failure:
# a deadline per example measures the machine. Failing examples are printed, and replayed from the local database.
hypothesis.settings.register_profile("bgpool", deadline=None, print_blob=True)
hypothesis.settings.register_profile(
    "long", deadline=None, print_blob=True, max_examples=50_000, stateful_step_count=100
)
hypothesis.settings.load_profile("bgpool")

# Kernels and shells under test leave IPython's directory of the person who tests alone: their journals go elsewhere.
_IPYTHON = os.environ["IPYTHONDIR"] = tempfile.mkdtemp(prefix="bgpool-ipython-")


def pytest_collection_finish() -> None:
    """Keep what lives already from the collector: tests that collect would each look through all of it."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Take away what shells under test left."""
    shutil.rmtree(_IPYTHON, ignore_errors=True)


_FAILED = pytest.StashKey[bool]()


def _close_pools() -> None:
    """Close what a test that failed left open: its threads are not for the tests that come after it to trip over."""
    for pool in [found for found in gc.get_objects() if isinstance(found, WorkerPool)]:
        pool.close(20.0)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure where everything that tests need must be there."""
    if os.environ.get("BGPOOL_NO_SKIP") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped although BGPOOL_NO_SKIP is set: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at the outcome of each phase of each test."""
    report = yield
    _refuse_skip(report)
    if report.failed:
        item.stash[_FAILED] = True
    if report.when == "teardown" and item.stash.get(_FAILED, False):
        _close_pools()
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Look at modules that skip themselves."""
    report = yield
    _refuse_skip(report)
    return report
