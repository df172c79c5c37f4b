"""A daemon under a mixed load for as long as is wanted, with faults of all kinds meanwhile.

All bytes that clients get are checked, and what is refused. Now and then all clients stop and close
their connections, and the daemon's descriptors and memory are counted: they must not grow.
"""

from __future__ import annotations

import hashlib
import random
import re
import signal
import ssl
import statistics
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tcpdl.access import keys
from tcpdl.access.users import hash_password, new_token, token_line
from tests.daemons import Daemon, daemon_of
from tests.faults.conftest import become_ordinary
from tests.faults.fetching import Fetch, How
from tests.soak.faults import FAULTS, let_go
from tests.soak.load import ACTIONS, PASSWORD, Site, Visitor
from tests.soak.served import LARGE_NAMES, Book, Files

VISITORS = 5
PAUSE = 0.1
"""Seconds between two actions of a visitor, and between two changes of files, on the average."""

PACED = "4M"
SIGHUP_EVERY = 7.0
FAILURES_MOST = 10
"""After so many, it is over."""

DESCRIPTORS_MORE = 8
"""By how many more descriptors than at the first quiet moment there may be."""

MEMORY_MORE = 12 << 20
"""By how many bytes memory may grow after the first quarter of a long run, in which the daemon
answers some hundred thousand requests: an object that is left behind by each takes more."""

MEMORY_MORE_IN_SHORT = 100 << 20
"""The same while it still fills its caches."""

LONG = 1800.0
"""Seconds that make a run a long one."""

SETTLED_WITHIN = 100.0
"""Seconds in which the daemon has ended all connections that clients have left."""

RULES = """\
/            anyone  list
/fixed/**    anyone  read
/moving/**   anyone  read
/torn/**     anyone  read
/private/**  ann,ci  read
"""


class Quiet(NamedTuple):
    """What was counted while nobody was there."""

    after: float
    requests: int
    descriptors: int
    memory: int


def pin_of(path: Path) -> str:
    """The pin of a certificate, in a file that holds its key, too."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    body = path.read_text().partition(begin)[2].partition(end)[0]
    return f"sha256:{hashlib.sha256(ssl.PEM_cert_to_DER_cert(begin + body + end)).hexdigest()}"


class Soak:
    """What is under way."""

    def __init__(self, seconds: float, seed: int, folder: Path, say: Callable[[str], None]) -> None:
        self.seconds = seconds
        self.seed = seed
        self.folder = folder
        self.say = say
        self.failures: list[str] = []
        self.quiet: list[Quiet] = []
        self.files: Files
        self.visitors: list[Visitor] = []
        self._change = threading.Condition()
        self._open = False
        self._over = False
        self._busy = 0
        self._seen = 0  # characters of the log
        self.warnings: Counter[str] = Counter()
        self.hups = 0

    def run(self) -> None:
        """All of it. What was wrong is in `failures` then."""
        root, book = self.folder / "root", Book()
        self.files = Files(root, book, self.seed)
        self.files.make()
        token = self._write_settings()
        rules, users, key = (self.folder / name for name in ("rules", "users", "key"))
        access = (f"--rules={rules}", f"--auth=users:{users}", f"--link-key={key}")
        options = (*access, "--drain=2")
        state = self.folder / "state"
        main = (*options, "--tls=self-signed", f"--state-dir={state}", "--echo-port=0")
        paced = (*options, f"--max-rate-per-connection={PACED}")
        with (
            daemon_of(root, *main, before=become_ordinary) as daemon,
            daemon_of(root, *paced, before=become_ordinary) as other,
        ):
            site = Site(
                daemon.port,
                int(daemon.log.wait_for(r"echo on \S+:(\d+)\n")),
                other.port,
                book,
                pin_of(state / "self-signed.pem"),
                token,
                keys.parse((self.folder / "key").read_bytes())[0],
                self.folder,
            )
            self._soak(daemon, site)
            if not self.failures:
                self._stop(daemon, site)

    def _stop(self, daemon: Daemon, site: Site) -> None:
        """Stop it while a file is sent."""
        began = time.monotonic()
        with Fetch(site.port, "http+tls", LARGE_NAMES[0], buffer=4096) as download:
            download.read(1)
            daemon.stop()
            assert download.finish().how is How.RESET
        self.say(f"it stopped within {time.monotonic() - began:.1f} s")

    def _write_settings(self) -> str:
        """The files that say who may read what. Returns a token."""
        token = new_token()
        users = f"ann:{hash_password(PASSWORD.encode())}\nci:{token_line(token)}\n"
        for name, text in (
            ("rules", RULES.encode()),
            ("users", users.encode()),
            ("key", keys.with_new_key(b"")),
        ):
            (self.folder / name).write_bytes(text)
            (self.folder / name).chmod(0o600)
        return token

    def _soak(self, daemon: Daemon, site: Site) -> None:
        self.visitors = [Visitor(site, f"{self.seed} {number}") for number in range(VISITORS)]
        threads = [threading.Thread(target=self._visit, args=(one,)) for one in self.visitors]
        threads += [
            threading.Thread(target=self._every, args=(PAUSE, self.files.change)),
            threading.Thread(target=self._every, args=(SIGHUP_EVERY, lambda: self._hup(daemon))),
        ]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            period = max(self.seconds / 60, min(10.0, self.seconds / 4))
            while time.monotonic() < began + self.seconds and not self._over:
                left = began + self.seconds - time.monotonic()
                with self._opened():
                    self._wait(min(period, left))
                self._count(daemon, began)
        finally:
            with self._change:
                self._over = True
                self._change.notify_all()
            for thread in threads:
                thread.join()
        self._judge()

    # Those who act wait at a gate.

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """Let all act; return once none does any longer."""
        with self._change:
            self._open = True
            self._change.notify_all()
        try:
            yield
        finally:
            with self._change:
                self._open = False
                self._change.notify_all()
                self._change.wait_for(lambda: not self._busy)

    def _wait(self, seconds: float) -> bool:
        """Wait, though not if it is over; whether it is."""
        with self._change:
            return self._change.wait_for(lambda: self._over, seconds)

    def _enter(self) -> bool:
        """Wait until it is open; whether it is not over."""
        with self._change:
            self._change.wait_for(lambda: self._open or self._over)
            self._busy += not self._over
            return not self._over

    def _leave(self) -> None:
        with self._change:
            self._busy -= 1
            self._change.notify_all()

    def _visit(self, visitor: Visitor) -> None:
        actions, weights = zip(*(ACTIONS | FAULTS).items(), strict=True)
        pauses = random.Random(f"pauses {self.seed}")
        while self._enter():
            try:
                while self._open and not self._over:
                    self._do(visitor, visitor.random.choices(actions, weights)[0])
                    self._pause(pauses.expovariate(1 / PAUSE))
                self._do(visitor, let_go)
            finally:
                self._leave()

    def _pause(self, seconds: float) -> None:
        with self._change:
            self._change.wait_for(lambda: not self._open or self._over, seconds)

    def _do(self, visitor: Visitor, action: Callable[[Visitor], None]) -> None:
        began = time.monotonic()
        try:
            action(visitor)
        except Exception:  # noqa: BLE001 - all of them are failures, to be told at the end
            self._fail(f"{action.__name__}, begun at {began:.1f}:\n{traceback.format_exc()}")
        visitor.counts[action.__name__] += 1

    def _every(self, seconds: float, act: Callable[[], None]) -> None:
        while self._enter():
            try:
                act()
            except Exception:  # noqa: BLE001 - as above
                self._fail(traceback.format_exc())
            finally:
                self._leave()
            self._wait(seconds)

    def _hup(self, daemon: Daemon) -> None:
        daemon.process.send_signal(signal.SIGHUP)
        self.hups += 1

    def _fail(self, text: str) -> None:
        self.say(text)
        with self._change:
            self.failures.append(text)
            if len(self.failures) >= FAILURES_MOST:
                self._over = True
                self._change.notify_all()

    # What is counted.

    def _count(self, daemon: Daemon, began: float) -> None:
        """Count, once the daemon has noticed that all have gone, and look into its log."""
        base = self.quiet[0].descriptors if self.quiet else 0
        end = time.monotonic() + SETTLED_WITHIN
        last, since = -1, time.monotonic()
        while daemon.process.poll() is None:
            now, count = time.monotonic(), daemon.descriptors()
            if count != last:
                last, since = count, now
            if now > end or now - since > (1 if base and count <= base else 15):
                break
            time.sleep(0.1)
        self._read_log(daemon)
        if daemon.process.returncode is not None:
            self._fail(f"the daemon ended: {daemon.process.returncode}")
            self._over = True
            return
        requests = sum(one.counts["requests"] for one in self.visitors)
        after = time.monotonic() - began
        seen = Quiet(after, requests, last, daemon.memory())
        self.quiet.append(seen)
        self.say(
            f"{seen.after:7.0f} s: {seen.requests:9,} requests, {seen.descriptors} descriptors, "
            f"{seen.memory / 1048576:.1f} MiB"
        )
        if base and last > base + DESCRIPTORS_MORE:
            self._fail(f"descriptors went from {base} to {last}")

    def _read_log(self, daemon: Daemon) -> None:
        text = daemon.log.text[self._seen :]
        self._seen += len(text)
        for match in re.finditer(r"Traceback|nexpected error|#(?:error|critical)\]", text):
            self._fail(f"in the log:\n{text[max(0, match.start() - 300) : match.start() + 3000]}")
            break
        for line in re.findall(r"#warn\] (.*)", text):
            self.warnings[re.sub(r"\S*\d\S*|'[^']*'", "_", line)[:100]] += 1

    def _judge(self) -> None:
        """Whether memory stays what it was."""
        long = self.seconds >= LONG
        settled = [one for one in self.quiet if one.after >= self.seconds / 4]
        if len(settled) < 2:
            return
        some = max(1, len(settled) // 4)
        first = statistics.median(one.memory for one in settled[:some])
        last = statistics.median(one.memory for one in settled[-some:])
        requests = settled[-1].requests - settled[0].requests
        self.say(
            f"memory went from {first / 1048576:.1f} to {last / 1048576:.1f} MiB "
            f"in {requests:,} requests"
        )
        if last - first > (MEMORY_MORE if long else MEMORY_MORE_IN_SHORT):
            self._fail("which is too much")

    def report(self) -> str:
        """What was done, a line for each kind."""
        counts: Counter[str] = sum((one.counts for one in self.visitors), Counter())
        received = sum(one.received for one in self.visitors)
        lines = [f"{count:10,}  {what}" for what, count in sorted(counts.items())]
        lines += [
            f"{received:10,}  bytes of files that were checked",
            f"{self.files.replaced:10,}  files replaced",
            f"{self.files.cut:10,}  files cut short",
            f"{self.files.grown:10,}  files that grew",
            f"{self.hups:10,}  SIGHUP",
            *(f"{count:10,}  warned: {what}" for what, count in self.warnings.most_common(20)),
            f"{len(self.failures):10,}  failures",
        ]
        return "\n".join(lines)
