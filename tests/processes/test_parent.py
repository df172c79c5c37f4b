"""Tests what the parent does when it is told to reload or to end, and what it tells of that."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

import tcpdl
from tcpdl.options.daemon import Options
from tcpdl.options.reloads import RELOADS
from tcpdl.processes import parent as parent_module
from tcpdl.processes.installed import Installed
from tcpdl.processes.parent import Parent
from tests.processes.test_slot import Process as Started
from tests.server.conftest import Log, log

__all__ = ["log"]


class Channel:
    """Nothing is said on it."""

    open = True
    busy = False

    def on(self, kind: str, call: Any) -> None:
        pass

    def tell(self, kind: str, **content: Any) -> None:
        pass


class Process(Started):
    """A worker, and what it was started with."""

    pid = 7

    def __init__(self, number: int, words: list[str]) -> None:
        super().__init__(f"worker-{number + 1}")
        self.number = number
        self.words = words
        self.channel = Channel()


class Notifier:
    """Remembers what the service manager is told."""

    watchdog = 10.0

    def __init__(self) -> None:
        self.told: list[str] = []
        self.statuses: list[str] = []

    def status(self, text: str) -> None:
        self.statuses.append(text)

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.told.append(name)


class World:
    """A parent whose workers do what a test says."""

    def __init__(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config = config
        self.reactor = MemoryReactorClock()
        self.notifier = Notifier()
        self.started: list[Process] = []
        options = Options({})
        options.parseOptions([f"--config={config}"])
        monkeypatch.setattr(parent_module, "spawn", self._spawn)
        monkeypatch.setattr(parent_module, "restrict_parent", lambda: "restricted")
        monkeypatch.setattr(parent_module, "run_on_monotonic_clock", lambda _: None)
        notifier: Any = self.notifier
        self.parent = Parent(self.reactor, options, [], [], None, notifier)
        self.parent.startService()
        self.reactor.run()

    def _spawn(self, reactor: object, order: Any, number: int, *_: object) -> Any:
        self.started.append(Process(number, order.words))
        return self.started[-1]

    def serve(self, *processes: Process) -> None:
        for process in processes:
            process.serve()

    @property
    def running(self) -> list[Process]:
        return [process for process in self.started if process.running]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    config = tmp_path / "tcpdl.toml"
    config.write_text(f"workers = 2\nroot = '{tmp_path}'\n")
    handlers = {number: signal.getsignal(number) for number in (1, 2, 15)}
    world = World(config, monkeypatch)
    yield world
    for process in world.running:
        process.stop()
    if world.parent.running:
        world.parent.stopService()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_it_is_ready_once_all_workers_are(world: World) -> None:
    first, second = world.started
    first.serve()
    assert "ready" not in world.notifier.told
    second.serve()
    assert world.notifier.told == ["ready"]


def test_while_none_of_them_answers_it_gives_no_sign_of_life(world: World) -> None:
    world.reactor.advance(5)
    assert "ping" not in world.notifier.told
    world.serve(*world.started)
    world.reactor.advance(5)
    assert world.notifier.told.count("ping") == 1
    for process in world.started:
        process.silence = 20
    world.reactor.advance(5)
    assert world.notifier.told.count("ping") == 1


def test_a_reload_starts_workers_with_what_is_configured_now(world: World) -> None:
    old = [*world.started]
    world.serve(*old)
    world.config.write_text(world.config.read_text() + "hidden = true\n")
    world.parent.reload()
    new = world.started[2:]
    assert all("--hidden" in process.words for process in new)
    assert not any("--hidden" in process.words for process in old)
    new[0].serve()
    assert not any(process.told for process in old)
    assert world.notifier.told == ["ready", "reloading"]
    new[1].serve()
    assert all(process.told == ["drain 30"] for process in old)
    assert world.notifier.told == ["ready", "reloading", "ready"]


def test_if_one_of_them_cannot_start_all_stay(world: World) -> None:
    old = [*world.started]
    world.serve(*old)
    world.config.write_text(world.config.read_text() + "hidden = true\n")
    world.parent.reload()
    new = world.started[2:]
    new[0].serve()
    new[1].fail("no such folder")
    assert new[0].told == ["end"]
    assert not any(process.told for process in old)
    assert world.notifier.told[-1] == "ready"
    old[0].stop("signal 9")
    world.reactor.advance(0)
    assert "--hidden" not in world.started[-1].words


def test_a_configuration_that_is_wrong_changes_nothing(world: World) -> None:
    world.serve(*world.started)
    world.config.write_text("workers = 2\nhiden = true\n")
    world.parent.reload()
    assert len(world.started) == 2
    assert world.notifier.told == ["ready", "reloading", "ready"]


def test_what_is_the_parents_changes_with_the_workers_or_takes_a_restart(
    world: World, log: Log
) -> None:
    forms: list[str] = []
    world.parent.on_reload(("log-format",), lambda options: forms.append(options["log-format"]))
    world.serve(*world.started)
    text = world.config.read_text()
    world.config.write_text(f"{text}log-format = 'json'\nhang-seconds = 7\nport = 1\n")
    world.parent.reload()
    assert (forms, world.parent.slots[0].hang_looks) == ([], 30)
    world.serve(*world.started[2:])
    assert (forms, world.parent.slots[0].hang_looks) == (["json"], 7)
    world.parent.reload()
    world.serve(*world.started[4:])
    assert forms == ["json"]
    later = f"port: unset -> 1 takes effect at a restart; {RELOADS['port'].why}"
    assert log.lines.count(later) == 2, "it is said each time"
    assert log.lines.count("hang-seconds: 30 -> 7") == 1


def test_after_an_upgrade_it_says_that_it_is_not_what_is_installed(
    world: World, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    world.serve(*world.started)
    assert world.notifier.statuses[-1] == "2 workers serve"
    monkeypatch.setattr(Installed, "replaced", True)
    world.config.write_text("workers = 2\nof-tomorrow = true\n")
    world.parent.reload()
    said = f"stays tcpdl {tcpdl.__version__}, and knows the options of that, until a restart"
    lines = [line for line in log.lines if "until a restart" in line or "of-tomorrow" in line]
    assert said in lines[0], "and then what it does not know"
    assert "of-tomorrow" in lines[1]
    for slot in world.parent.slots:
        slot.on_change()
    assert "until a restart" in world.notifier.statuses[-1]
    assert "until a restart" in world.parent.counting.health()[1]


def test_a_reload_while_another_is_under_way_comes_after_it(world: World) -> None:
    world.serve(*world.started)
    world.parent.reload()
    world.parent.reload()
    world.parent.reload()
    assert len(world.started) == 4
    world.serve(*world.started[2:])
    assert len(world.started) == 6
    world.serve(*world.started[4:])
    assert len(world.started) == 6


def test_one_that_dies_meanwhile_is_followed_by_one_as_before(world: World) -> None:
    old = [*world.started]
    world.serve(*old)
    world.config.write_text(world.config.read_text() + "hidden = true\n")
    world.parent.reload()
    old[0].stop("signal 9")
    world.reactor.advance(0)
    assert "--hidden" not in world.started[-1].words


def test_who_comes_for_one_that_cannot_start_goes_to_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rested: list[tuple[object, ...]] = []
    monkeypatch.setattr(parent_module, "rest", lambda _, *which: rested.append(which))
    first, second = world.started
    first.fail("the rules are wrong")
    world.reactor.advance(0)
    world.started[-1].fail("the rules are wrong")
    assert rested == []  # nobody serves yet, and whoever comes waits
    second.serve()
    assert rested == [(0, 2)]
    world.reactor.advance(1)
    world.serve(world.started[-1])
    assert rested == [(0, 2)]


def test_at_the_end_it_waits_for_its_workers(world: World) -> None:
    world.serve(*world.started)
    stopped: list[object] = []
    world.parent.stopService().addCallback(stopped.append)
    assert [process.told for process in world.started] == [["drain 0 last"]] * 2
    assert not stopped
    for process in world.started:
        process.stop()
    assert stopped
    world.reactor.advance(1000)
    assert len(world.started) == 2
    assert world.notifier.told[-2:] == ["stopping", "close"]


def test_a_user_who_may_not_execute_python_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "tcpdl.toml"
    config.write_text(f"workers = 2\nroot = '{tmp_path}'\n")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.X_OK)
    world = World(config, monkeypatch)
    assert world.started == []
    assert world.reactor.hasStopped
    world.parent.stopService()
