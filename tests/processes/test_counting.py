"""Tests that sums over workers never fall, and what is believed of what a worker says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

import tcpdl
from tcpdl.admin.provider import added, daemon_status
from tcpdl.daemon import Daemon
from tcpdl.processes.counting import ANSWER_SECONDS, ENDED, OTHERS, SAMPLES_MOST, Counting, checked
from tcpdl.server.hangup import Hangups

COUNT = "tcpdl_connections_accepted_total"
GAUGE = "tcpdl_connections_open"


class Channel:
    """What a test has a worker say."""

    open = True

    def __init__(self) -> None:
        self.calls: dict[str, Callable[[dict[str, Any]], object]] = {}
        self.told: list[tuple[str, dict[str, Any]]] = []

    def on(self, kind: str, call: Callable[[dict[str, Any]], object]) -> None:
        self.calls[kind] = call

    def tell(self, kind: str, **content: Any) -> None:
        self.told.append((kind, content))


class Process:
    """A worker."""

    serves = True
    drains = False
    pid = 7

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"worker-{number + 1}"
        self.channel = Channel()
        self.over: Deferred[str] = Deferred()

    def counted(self, **snapshot: float) -> None:
        self.channel.calls["alive"]({"snapshot": snapshot})


class Slot:
    """A place."""

    def __init__(self) -> None:
        self.current: Process | None = None
        self.failures = 0
        self.answers = True

    @property
    def serves(self) -> bool:
        return self.current is not None


class World:
    """Two places."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.slots = [Slot(), Slot()]
        self.hangups = Hangups(self.clock)
        self.counting = Counting(self.slots, self.clock, self.hangups)  # type: ignore[arg-type]

    def worker(self, place: int) -> Process:
        process = Process(place)
        self.slots[place].current = process
        self.counting.follow(process)  # type: ignore[arg-type]
        return process

    @property
    def sums(self) -> dict[str, float]:
        return added(self.counting.snapshots().values())


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def status() -> Any:
    return json.loads(json.dumps(daemon_status(Daemon(MemoryReactorClock()))))


def test_what_a_worker_has_counted_outlives_it(world: World) -> None:
    first, second = world.worker(0), world.worker(1)
    first.counted(**{COUNT: 5, GAUGE: 2})
    second.counted(**{COUNT: 1, GAUGE: 1})
    assert world.sums[COUNT] == 6
    assert world.sums[GAUGE] == 3
    first.over.callback("signal 9")
    assert world.sums[COUNT] == 6
    assert world.sums[GAUGE] == 1
    third = world.worker(0)
    assert world.sums[COUNT] == 6
    third.counted(**{COUNT: 2})
    assert world.sums[COUNT] == 8
    assert world.counting.snapshots()["worker-1"] == {COUNT: 2}
    assert world.counting.snapshots()[ENDED] == {COUNT: 5}


def test_who_drains_counts_under_a_name_of_its_own(world: World) -> None:
    old = world.worker(0)
    old.counted(**{COUNT: 5})
    world.worker(0).counted(**{COUNT: 1})
    snapshots = world.counting.snapshots()
    assert snapshots["worker-1"][COUNT] == 1
    assert snapshots[OTHERS][COUNT] == 5


def test_the_parent_counts_those_that_were_replaced(world: World) -> None:
    world.worker(0)
    world.slots[1].failures = 3
    world.hangups.count = 2
    assert world.sums["tcpdl_workers"] == 1
    assert world.sums["tcpdl_worker_restarts_total"] == 3
    assert world.sums["tcpdl_reloads_total"] == 2


def test_all_is_well_while_somebody_answers_in_each_place(world: World) -> None:
    world.worker(0)
    assert world.counting.health() == (False, "nobody serves in place of worker 2")
    world.worker(1)
    assert world.counting.health() == (True, "2 workers serve")
    world.counting.remark = "; a restart is due"
    assert world.counting.health() == (True, "2 workers serve; a restart is due")
    world.slots[0].answers = False
    assert world.counting.health() == (False, "worker 1 has said nothing for some seconds")


def test_all_versions_that_there_are_are_told(world: World) -> None:
    world.worker(0).counted(**{'tcpdl_build_info{version="90.1"}': 1})
    versions = {of for of in world.sums if of.startswith("tcpdl_build_info")}
    ours = f'tcpdl_build_info{{version="{tcpdl.__version__}"}}'
    assert versions == {ours, 'tcpdl_build_info{version="90.1"}'}


def test_a_worker_that_does_not_answer_is_not_waited_for(world: World) -> None:
    world.worker(0)
    process = world.worker(1)
    process.serves = False
    answers: list[Any] = []
    world.counting.status().addCallback(answers.append)
    assert not answers
    world.clock.advance(ANSWER_SECONDS)
    assert answers[0]["running"] is False
    assert answers[0]["processes"] == {}


def test_who_does_not_answer_is_told_of_as_it_was(world: World, status: Any) -> None:
    """No sum falls because a worker hangs, and whoever looks sees which one it is."""
    silent, other = world.worker(0), world.worker(1)
    silent.counted(
        **{
            GAUGE: 3,
            'tcpdl_connections_refused_total{limit="address"}': 4,
            "tcpdl_received_bytes_total": 7,
            'tcpdl_requests_total{dialect="http",outcome="complete"}': 2,
            "tcpdl_resident_memory_bytes": 1000,
        }
    )
    answers: list[Any] = []
    world.counting.status().addCallback(answers.append)
    number = other.channel.told[0][1]["number"]
    other.channel.calls["status"]({"number": number, "status": status})
    world.clock.advance(ANSWER_SECONDS)
    (answer,) = answers
    assert [*answer["processes"]] == ["worker-1", "worker-2"]
    assert [one["answers"] for one in answer["processes"].values()] == [False, True]
    assert answer["processes"]["worker-1"]["figures"] == {"memory": 1000}
    assert answer["running"] is False
    assert answer["limits"] == status["limits"]
    assert answer["connections"]["open"] == 3
    assert answer["connections"]["refused"]["address"] == 4
    assert answer["bytes"]["received"] == 7
    assert answer["requests"]["over"] == 2
    silent.over.callback("signal 9")
    world.counting.status().addCallback(answers.append)
    world.clock.advance(ANSWER_SECONDS)
    assert answers[1]["connections"]["refused"] == {"address": 4}
    assert answers[1]["bytes"]["received"] == 7


def test_who_ends_after_it_has_answered_counts_once(world: World, status: Any) -> None:
    first, _ = world.worker(0), world.worker(1)
    first.counted(tcpdl_received_bytes_total=7)
    answers: list[Any] = []
    world.counting.status().addCallback(answers.append)
    number = first.channel.told[0][1]["number"]
    said = {**status, "bytes": {"sent": 0, "received": 7}}
    first.channel.calls["status"]({"number": number, "status": said})
    first.over.callback("signal 9")
    world.clock.advance(ANSWER_SECONDS)
    assert answers[0]["bytes"]["received"] == 7


def test_a_worker_cannot_have_others_blamed_for_its_answer(world: World, status: Any) -> None:
    """What it says would be an answer if it were alone, and cannot be added to that of another."""
    liar, honest = world.worker(0), world.worker(1)
    answers: list[Any] = []
    world.counting.status().addCallback(answers.append)
    asked = {process: process.channel.told[0][1]["number"] for process in (liar, honest)}
    lie = {**status, "ports": [1], "uptime": "long"}
    with pytest.raises(TypeError):
        liar.channel.calls["status"]({"number": asked[liar], "status": lie})
    honest.channel.calls["status"]({"number": asked[honest], "status": status})
    world.clock.advance(ANSWER_SECONDS)
    assert [*answers[0]["processes"]] == ["worker-2"]


def test_a_worker_cannot_answer_for_another(world: World, status: Any) -> None:
    liar, honest = world.worker(0), world.worker(1)
    answers: list[Any] = []
    world.counting.status().addCallback(answers.append)
    asked = {process: process.channel.told[0][1]["number"] for process in (liar, honest)}
    liar.channel.calls["status"]({"number": asked[honest], "status": {**status, "pid": 1}})
    for process in (liar, honest):
        process.channel.calls["status"]({"number": asked[process], "status": status})
    assert {one["pid"] for one in answers[0]["processes"].values()} == {status["pid"]}


def test_the_status_is_that_of_the_daemon_whoever_has_ended(world: World, status: Any) -> None:
    """A reload is no new beginning to whoever asks."""
    before = world.worker(0)
    before.counted(
        **{
            'tcpdl_sent_bytes_total{path="copy"}': 5,
            'tcpdl_sent_bytes_total{path="tls"}': 7,
            "tcpdl_received_bytes_total": 3,
            'tcpdl_requests_total{dialect="http",outcome="complete"}': 2,
        }
    )
    before.over.callback("status 0")
    process = world.worker(0)
    answers: list[Any] = []
    world.counting.status().addCallback(answers.append)
    number = process.channel.told[0][1]["number"]
    said = {**status, "bytes": {"sent": 100, "received": 10}, "requests": {"live": 1, "over": 20}}
    process.channel.calls["status"]({"number": number, "status": {**said, "started": 1e12}})
    (answer,) = answers
    assert answer["bytes"] == {"sent": 112, "received": 13}
    assert answer["requests"] == {"live": 1, "over": 22}
    assert answer["started"] < 1e12


def test_what_is_made_up_does_not_stay(world: World) -> None:
    for number in range(3):
        process = world.worker(0)
        labels = (f'{{dialect="{number}",outcome="{one}"}}' for one in range(SAMPLES_MOST // 2))
        process.counted(**{COUNT: 1}, **{f"tcpdl_requests_total{one}": 1 for one in labels})
        process.over.callback("signal 9")
    assert len(world.counting.snapshots()[ENDED]) <= SAMPLES_MOST
    assert world.sums[COUNT] >= 1


def test_an_answer_that_is_none_is_not_believed(world: World) -> None:
    process = world.worker(0)
    answers: list[Any] = []
    world.counting.status().addCallback(answers.append)
    ((kind, content),) = process.channel.told
    assert kind == "status"
    with pytest.raises(KeyError):
        process.channel.calls["status"]({"number": content["number"], "status": {}})
    process.channel.calls["status"]({"number": 999, "status": {}})
    world.clock.advance(ANSWER_SECONDS)
    assert len(answers) == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        7,
        [1],
        "text",
        {COUNT: "5"},
        {COUNT: None},
        {COUNT: float("nan")},
        {COUNT: float("inf")},
        {COUNT: 1e300},
        {str(number): 1 for number in range(SAMPLES_MOST + 1)},
    ],
)
def test_a_snapshot_that_is_none_is_refused(nonsense: Any) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)):
        checked(nonsense)


def test_a_series_that_is_unknown_is_left_out() -> None:
    assert checked({COUNT: 1, "tcpdl_of_tomorrow_total": 2}) == {COUNT: 1}


def test_a_bound_that_is_no_number_is_left_out() -> None:
    name = "tcpdl_loop_lag_seconds_bucket"
    right = {f'{name}{{le="{bound}"}}': 1 for bound in ("0.001", "10", "+Inf")}
    assert checked({f'{name}{{le="x"}}': 1, **right}) == right
