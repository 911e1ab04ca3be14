"""Every test starts from the same global state, and none leaves anything behind.

A pytest plugin, registered in conftest.py. Around each test, with all fixtures that it sets up and takes down, global
state is read and put back, and the random number generators start from the same seed. So no test depends on those
before it, whatever their order. State that only a careless test changes (the environment, the working directory,
registries, ...) is put back as well, but the test fails with the names of what it left. What every training changes
(mmengine's default scope and loggers, random numbers) is put back in silence.

Fixtures of modules, packages and the session are set up under the state that no test has touched: what they hold does
not depend on the test that asks first.
"""

from __future__ import annotations

import gc
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.isolation.aspects import SETTINGS, seed_everything
from tests.isolation.mmengine_state import Managers, Modules, Registries

# Modules last: what they have registered is judged while they are there.
ASPECTS = (*SETTINGS, Managers(), Registries(), Modules())
_SECONDS_TO_END = 10.0  # for threads and processes that are about to


class Isolation:
    """The plugin."""

    def __init__(self) -> None:
        self.before: dict[str, dict[str, Any]] = {}
        self.alive: set[Any] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Set what is imported aside from garbage collection.

        mmengine collects with every data set that it builds: 0.3 s each, when millions of objects are looked at.
        """
        gc.collect()
        gc.freeze()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        __tracebackhide__ = True
        self.before, self.alive = _read(), _alive()
        seed_everything()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        __tracebackhide__ = True
        # The test draws the same numbers whether or not it was the one to set up the fixtures.
        seed_everything()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        __tracebackhide__ = True
        try:
            result = yield
        finally:
            left = [*_put_back(self.before), *_still_alive(self.alive)]
        if left:
            pytest.fail(_sentence(f"{item.nodeid} left", left), pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
        __tracebackhide__ = True
        if fixturedef.scope == "function":
            return (yield)
        now = _read()
        _put_back(self.before)
        seed_everything()
        try:
            result = yield
        finally:
            left = _put_back(self.before)
            _put_back(now)
        if left:
            pytest.fail(_sentence(f"the {fixturedef.scope}'s fixture {fixturedef.argname} left", left), pytrace=False)
        return result


@contextmanager
def isolated() -> Iterator[None]:
    """The same for a block of a test that has to see what a test would leave to the next.

    Raises:
        pytest.fail.Exception: something was left behind.
    """
    before = _read()
    try:
        yield
    finally:
        left = _put_back(before)
    if left:
        pytest.fail(_sentence("the block left", left), pytrace=False)


def _sentence(who: str, left: list[str]) -> str:
    return f"{who} behind: {'; '.join(left)}. Undo it in the test, with monkeypatch or a fixture of its own."


def _read() -> dict[str, dict[str, Any]]:
    return {aspect.name: aspect.read() for aspect in ASPECTS}


def _put_back(before: dict[str, dict[str, Any]]) -> list[str]:
    """Restore what has changed; returns what should not have, and what cannot be restored."""
    left = []
    for aspect in ASPECTS:
        old, now = before[aspect.name], aspect.read()
        changed = aspect.changed(old, now)
        if not changed:
            continue
        aspect.write(old)
        loud = [key for key in changed if aspect.reported(key, old, now)]
        # Written, and yet not as before: so it would be for the next test.
        stuck = [key for key in aspect.changed(old, aspect.read()) if key not in loud]
        left += [f"{aspect.name} {', '.join(sorted(map(str, keys)))}" for keys in (loud, stuck) if keys]
    return left


def _alive() -> set[Any]:
    return {*threading.enumerate(), *multiprocessing.active_children()}


def _still_alive(before: set[Any]) -> list[str]:
    """Threads and child processes that were not there before and do not end."""
    left = _new(before)
    if left:
        gc.collect()  # a loader whose workers persist ends with its iterator
    end = time.monotonic() + _SECONDS_TO_END
    while left and time.monotonic() < end:
        time.sleep(0.02)
        left = _new(before)
    return [f"{'thread' if isinstance(entry, threading.Thread) else 'process'} {entry.name}" for entry in left]


def _new(before: set[Any]) -> list[Any]:
    # tqdm's monitor serves all bars of the process and never ends.
    return [entry for entry in _alive() - before if type(entry).__name__ != "TMonitor"]
