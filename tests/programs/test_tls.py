"""Tests TLS of the whole daemon with other people's programs, and with ours."""

from __future__ import annotations

import contextlib
import ctypes
import filecmp
import hashlib
import http.client
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.peers import free_port
from tests.certificates import Certificate, client_context, localhost, make
from tests.daemons import SECONDS, Daemon, Log, daemon_of
from tests.programs.conftest import Run, bytes_of, needs
from tests.programs.recording import Recording

TCPDL = (sys.executable, "-m", "tcpdl")
LARGE = bytes_of(30_000_000, b"TLS")
SMALL = b"These words must be seen by nobody on the way.\n"


class Secured(NamedTuple):
    """A daemon with a certificate, and where that is."""

    daemon: Daemon
    certificate: str
    folder: Path
    strict: int
    """The port where TLS is required."""
    echo: int
    twisted: int
    """The port of an endpoint of Twisted's, `ssl:`."""

    @property
    def https(self) -> str:
        return f"https://localhost:{self.daemon.port}"

    @property
    def curl(self) -> tuple[str, ...]:
        return ("curl", "-sS", "--max-time", str(SECONDS), "--cacert", self.certificate)

    def s_client(self, *options: str, port: int | None = None) -> tuple[str, ...]:
        where = f"localhost:{port or self.daemon.port}"
        trust = ("-CAfile", self.certificate, "-verify_return_error")
        return ("openssl", "s_client", "-quiet", "-connect", where, *trust, *options)

    def socket(self, port: int | None = None, **options: Any) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", port or self.daemon.port), SECONDS)
        return client_context(**options).wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=False
        )


def fill(root: Path) -> None:
    (root / "tree" / "sub").mkdir(parents=True)
    (root / "small.txt").write_bytes(SMALL)
    (root / "large").write_bytes(LARGE)
    for number in range(30):
        (root / "tree" / f"file-{number}.txt").write_bytes(SMALL + b"%d" % number)
    (root / "tree" / "sub" / "medium").write_bytes(LARGE[:2_000_000])


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    root = folder / "root"
    root.mkdir()
    fill(root)
    certificate, key = localhost().write(folder)
    twisted = free_port()
    options = [f"--tls-cert={certificate}", f"--tls-key={key}", "--listen=tls:0"]
    options += ["--echo-port=0", f"--listen=ssl:{twisted}:certKey={certificate}:privateKey={key}"]
    with daemon_of(root, *options) as daemon:
        strict = int(daemon.log.wait_for(r"over TLS, on \S+:(\d+)\n"))
        echo = int(daemon.log.wait_for(r"echo on \S+:(\d+)\n"))
        yield Secured(daemon, str(certificate), folder, strict, echo, twisted)


# HTTP.


@needs("curl")
@pytest.mark.parametrize("name", ["small.txt", "large"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl(name: str, version: str, secured: Secured, run: Run, work: Path) -> None:
    only = (f"--tlsv{version}", "--tls-max", version)
    run(*secured.curl, *only, "-o", "got", f"{secured.https}/{name}")
    assert filecmp.cmp(work / "got", secured.daemon.root / name, shallow=False)


@needs("curl")
def test_curl_without_tls(secured: Secured, run: Run) -> None:
    assert run("curl", "-sS", f"{secured.daemon.url}/small.txt").out == SMALL


@needs("curl")
def test_curl_is_led_to_tls(secured: Secured, run: Run) -> None:
    url = f"http://localhost:{secured.strict}/small.txt?download"
    assert run(*secured.curl, "-L", url).out == SMALL
    out = run(*secured.curl, "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", url).out
    assert out.decode() == f"308 https://localhost:{secured.strict}/small.txt?download"


@needs("curl")
def test_curl_continues(secured: Secured, run: Run, work: Path) -> None:
    (work / "got").write_bytes(LARGE[:1_000_001])
    run(*secured.curl, "-C", "-", "-o", "got", f"{secured.https}/large")
    assert (work / "got").read_bytes() == LARGE


@needs("curl", "tar")
def test_archive(secured: Secured, run: Run, work: Path) -> None:
    run(*secured.curl, "-o", "got.tar", f"{secured.https}/tree/?archive=tar")
    run("tar", "xf", "got.tar")
    assert (work / "tree/sub/medium").read_bytes() == LARGE[:2_000_000]


@needs("wget")
def test_wget(secured: Secured, run: Run, work: Path) -> None:
    trust = f"--ca-certificate={secured.certificate}"
    run("wget", "-q", trust, "-O", "got", f"{secured.https}/large")
    assert (work / "got").read_bytes() == LARGE


def test_many_requests_on_a_connection(secured: Secured) -> None:
    where = ("localhost", secured.daemon.port)
    connection = http.client.HTTPSConnection(*where, timeout=SECONDS, context=client_context())
    for name in ("small.txt", "large", "absent", "tree/", "small.txt"):
        connection.request("GET", f"/{name}")
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == (404 if name == "absent" else 200)
        assert name != "large" or body == LARGE
    connection.close()


# Raw.


@needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("name", ["small.txt", "large"])
def test_raw(version: str, name: str, secured: Secured, run: Run) -> None:
    out = run(*secured.s_client(version), data=f"{name}\n".encode()).out
    assert out == (secured.daemon.root / name).read_bytes()


@needs("openssl")
@pytest.mark.parametrize("offered", ["h2", "tcpdl/1", "http/1.1", "spdy/1,http/1.1"])
def test_whatever_protocol_is_offered(offered: str, secured: Secured, run: Run) -> None:
    assert run(*secured.s_client("-alpn", offered), data=b"small.txt\n").out == SMALL


@needs("openssl")
def test_an_old_version(secured: Secured, run: Run) -> None:
    run(*secured.s_client("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), status=1)
    secured.daemon.log.wait_for(r'outcome=no-tls .* why="(unsupported protocol)"')


@needs("socat")
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_half_close(end: bytes, secured: Secured, run: Run) -> None:
    where = f"OPENSSL:localhost:{secured.daemon.port},cafile={secured.certificate}"
    assert run("socat", "-t10", "-", where, data=b"large" + end).out == LARGE


def test_the_help(secured: Secured) -> None:
    with secured.socket() as sock:
        sock.sendall(b"?\n")
        assert b"tcpdl" in sock.recv(1000)


def test_an_end_of_the_stream_is_said(secured: Secured) -> None:
    """And a client that says that it has none has its answer all the same."""
    with secured.socket() as sock:
        sock.sendall(b"large\n")
        assert b"".join(iter(lambda: sock.recv(1 << 16), b"")) == LARGE


def test_a_cut_is_no_end(secured: Secured) -> None:
    with secured.socket() as sock:
        sock.sendall(b"small")
        plain = socket.socket(fileno=sock.detach())
    with plain:
        plain.settimeout(SECONDS)
        plain.shutdown(socket.SHUT_WR)
        assert_reset(plain)


def read_to_end(sock: socket.socket) -> None:
    while sock.recv(1 << 16):
        pass


def assert_reset(sock: socket.socket) -> None:
    with pytest.raises(ConnectionResetError):
        read_to_end(sock)


# Natively.


@pytest.mark.parametrize("name", ["small.txt", "large"])
def test_get(name: str, secured: Secured, run: Run, work: Path) -> None:
    url = f"tcpdls://localhost:{secured.daemon.port}/{name}"
    run(*TCPDL, "get", "--ca-file", secured.certificate, url)
    assert filecmp.cmp(work / name, secured.daemon.root / name, shallow=False)


def test_mirror(secured: Secured, run: Run, work: Path) -> None:
    url = f"tcpdls://127.0.0.1:{secured.strict}/tree"
    run(*TCPDL, "mirror", "--pin", localhost().pin, url, "copy")
    compared = filecmp.dircmp(work / "copy", secured.daemon.root / "tree")
    assert compared.diff_files + compared.left_only + compared.right_only == []
    assert (work / "copy/sub/medium").read_bytes() == LARGE[:2_000_000]


def test_get_without_tls_where_it_is_required(secured: Secured, run: Run) -> None:
    done = run(*TCPDL, "get", f"localhost:{secured.strict}/small.txt", status=2)
    assert "with TLS only" in done.err


# Others.


def test_no_tls_on_the_port_of_echo(secured: Secured) -> None:
    """Whose first byte may be any, and comes back."""
    with socket.create_connection(("127.0.0.1", secured.echo), SECONDS) as sock:
        sock.sendall(b"\x16\x03\x01")
        assert sock.recv(100) == b"\x16\x03\x01"


@needs("openssl")
def test_an_endpoint_of_twisted(secured: Secured, run: Run) -> None:
    out = run(*secured.s_client(port=secured.twisted), data=b"small.txt\n").out
    assert out == SMALL


@needs("curl")
def test_certificates_of_clients(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "small.txt").write_bytes(SMALL)
    authority = make("An authority", authority=True)
    (tmp_path / "ca.pem").write_text(authority.pem)
    certificate, key = localhost().write(tmp_path)
    options = (f"--tls-cert={certificate}", f"--tls-key={key}")
    with daemon_of(root, *options, f"--tls-client-ca={tmp_path}/ca.pem") as daemon:
        curl = ("curl", "-sS", "--cacert", str(certificate))
        url = f"https://localhost:{daemon.port}/small.txt"
        own, own_key = make("ann", issuer=authority).write(tmp_path, "own")
        assert run(*curl, "--cert", str(own), "--key", str(own_key), url).out == SMALL
        other, other_key = make("ann").write(tmp_path, "other")
        run(*curl, "--cert", str(other), "--key", str(other_key), url, status=56)
        daemon.log.wait_for(r"(its certificate is not accepted: self)")


def test_a_daemon_that_is_stopped(tmp_path: Path) -> None:
    """What it owes ends in a reset, and nothing encrypted says that this is the end."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "large").write_bytes(LARGE)
    certificate, key = localhost().write(tmp_path)
    options = (f"--tls-cert={certificate}", f"--tls-key={key}", "--drain=1")
    with daemon_of(root, *options) as daemon:
        plain = daemon.connect()
        sock = client_context().wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=False
        )
        with sock:
            sock.sendall(b"large\n")
            assert sock.recv(1000)
            daemon.stop()
            with pytest.raises(OSError, match=r"EOF occurred in violation|reset by peer"):
                read_to_end(sock)


# What is on the wire.


def assert_encrypted(wire: bytes, *, whole: bool) -> None:
    """It is made of records of TLS, which all begin as they should, and hold nothing we know."""
    at = 0
    while at + 5 <= len(wire):
        assert wire[at] in (20, 21, 22, 23), wire[at : at + 16]
        assert wire[at + 1] == 3
        at += 5 + int.from_bytes(wire[at + 3 : at + 5], "big")
    assert at == len(wire) or not whole
    for offset in range(0, len(LARGE), 300_007):
        assert LARGE[offset : offset + 12] not in wire
    known = (SMALL[:12], b"small.txt", b"large", b"file-1", b"HTTP/1.1", b"tcpdl\1", b"nothing")
    for text in known:
        assert text not in wire, text


@needs("curl", "openssl")
def test_nothing_plain_is_on_the_wire(secured: Secured, run: Run, work: Path) -> None:
    with Recording(secured.daemon.port) as proxy:
        https = f"https://localhost:{proxy.port}"
        for path in ("large", "small.txt", "tree/?archive=tar", "tree/?archive=zip", "absent"):
            run(*secured.curl, "-o", "got", f"{https}/{path}")
        for path in ("tree/", "tree/?sums=sha256", "large?info", "tree"):
            run(*secured.curl, "-o", "got", f"{https}/{path}", "-r", "0-99")
        run(*secured.curl, "-X", "DELETE", https)
        for said in (b"small.txt\n", b"large\n", b"?\n", b"../absent\n", b"tree/file-1.txt\n"):
            run(*secured.s_client(port=proxy.port), data=said)
        native = ("--ca-file", secured.certificate)
        run(*TCPDL, "get", *native, f"tcpdls://localhost:{proxy.port}/large")
        run(*TCPDL, "get", *native, f"tcpdls://localhost:{proxy.port}/absent", status=5)
        run(*TCPDL, "mirror", *native, f"tcpdls://localhost:{proxy.port}/tree", "copy")
        run(*TCPDL, "ls", "-R", *native, f"tcpdls://localhost:{proxy.port}/")
        with secured.socket(proxy.port) as sock:  # one that is broken off
            sock.sendall(b"large\n")
            sock.recv(1000)
    assert len(proxy.said) > 15
    assert sum(map(len, proxy.answered)) > 3 * len(LARGE)
    for wire in proxy.said:
        assert_encrypted(bytes(wire), whole=True)
    for wire in proxy.answered:
        assert_encrypted(bytes(wire), whole=False)


def test_the_check_itself(secured: Secured) -> None:
    with (
        Recording(secured.daemon.port) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), SECONDS) as sock,
    ):
        sock.sendall(b"small.txt\n")
        read_to_end(sock)
    with pytest.raises(AssertionError):
        assert_encrypted(bytes(proxy.answered[0]), whole=True)


# Renewal.


def pin_of(port: int) -> str:
    """By which the daemon now proves itself to who connects."""
    plain = socket.create_connection(("127.0.0.1", port), SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(plain) as sock:
        der = sock.getpeercert(True)
        assert der is not None
        return f"sha256:{hashlib.sha256(der).hexdigest()}"


@contextlib.contextmanager
def twistd(root: Path, certificate: Certificate) -> Iterator[tuple[Any, int, Log]]:
    pair = certificate.write(root.parent)
    with daemon_of(root, f"--tls-cert={pair[0]}", f"--tls-key={pair[1]}") as daemon:
        yield daemon.process, daemon.port, daemon.log


@contextlib.contextmanager
def tcpdl_serve(root: Path, certificate: Certificate) -> Iterator[tuple[Any, int, Log]]:
    pair = certificate.write(root.parent)
    options = (f"--tls-cert={pair[0]}", f"--tls-key={pair[1]}", "--interface=127.0.0.1")
    with subprocess.Popen(
        [*TCPDL, "serve", str(root), "--port=0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        log = Log(process)
        try:
            port = int(log.wait_for(r"https://127.0.0.1:(\d+)/"))
            assert log.wait_for(r"Its certificate is (\S+)\.") == certificate.pin
            log.wait_for(r"the certificate is (\S+)")
            yield process, port, log
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) in (0, -signal.SIGTERM)
        finally:
            process.kill()
            log.join()


@pytest.mark.parametrize("kind", [twistd, tcpdl_serve])
def test_renewal_while_it_serves(kind: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "large").write_bytes(LARGE)
    first, second = make(), make()
    with kind(root, first) as (process, port, log):
        assert pin_of(port) == first.pin
        plain = socket.create_connection(("127.0.0.1", port), SECONDS)
        with client_context(first).wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"large\n")
            got = bytearray(sock.recv(1000))
            second.write(tmp_path)
            process.send_signal(signal.SIGHUP)
            log.wait_for(f"the certificate is ({second.pin})")
            assert pin_of(port) == second.pin
            make().write(tmp_path, "another")
            (tmp_path / "another-key.pem").rename(tmp_path / "server-key.pem")
            process.send_signal(signal.SIGHUP)
            log.wait_for(r"the certificate stays what it was: (the key in)")
            assert pin_of(port) == second.pin
            while data := sock.recv(1 << 16):
                got += data
            assert got == LARGE, "what was begun under the first one goes on"


# Hardening.


def refuse_executable_memory() -> None:
    """What MemoryDenyWriteExecute= of systemd does, by the kernel's own means (since 6.3)."""
    prctl = ctypes.CDLL(None).prctl
    if prctl(65, 1, 0, 0, 0):
        raise OSError("this kernel has no PR_SET_MDWE")


@needs("curl")
def test_memory_that_cannot_be_made_executable(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "large").write_bytes(LARGE)
    options = ("--tls=self-signed", f"--state-dir={tmp_path}")
    try:
        subprocess.run(["true"], preexec_fn=refuse_executable_memory, check=True)
    except subprocess.SubprocessError:
        pytest.skip("this kernel cannot deny memory that is made executable")
    with daemon_of(root, *options, before=refuse_executable_memory) as daemon:
        trust = ("--cacert", str(tmp_path / "self-signed.pem"))
        assert run("curl", "-sS", *trust, f"https://localhost:{daemon.port}/large").out == LARGE
