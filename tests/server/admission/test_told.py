"""Tests what a daemon does that was told other things of who may read what, and what it logs."""

from __future__ import annotations

from tcpdl.server.direct import ClientCertificate
from tcpdl.wire.native import Get, Tree
from tests.server.admission.conftest import Make
from tests.server.admission.visiting import (
    ANYONE,
    CANARY,
    VISITORS,
    GuardedServer,
    Visitor,
    ask,
    canaries,
    error_code,
    fetch,
    link_to,
    read,
    with_password,
)
from tests.server.conftest import Log


def test_without_rules_who_logs_in_may_read_all(make: Make) -> None:
    server = make(text=None)
    anyone, bob = ANYONE, with_password("", "bob", "secret")
    for target in ("/top.txt", "/public/a.txt", "/"):
        assert fetch(server, anyone, target).status == 401
        assert fetch(server, bob, target).status == 200
    assert fetch(server, anyone._replace(link=link_to("public")), "/public/a.txt").status == 200


def test_without_logins_nobody_is_asked_to(make: Make) -> None:
    server = make(checkers=None, certificates=False)
    for visitor in VISITORS:
        reply = fetch(server, visitor, "/private/c.txt")
        by_link = visitor.link in (link_to("private"), link_to(""))
        assert reply.status == (200 if by_link else 403)
        assert "www-authenticate" not in reply.fields
        assert error_code(ask(server, visitor, Get(1, b"private/c.txt"))) == (0 if by_link else 9)
        # Logins mean nothing, so a wrong one harms nobody.
        assert fetch(server, visitor, "/public/a.txt").status == 200


def test_with_certificates_alone(make: Make) -> None:
    server = make(checkers=None)
    anyone = Visitor("", 403, 8)
    reply = fetch(server, anyone, "/private/c.txt")
    assert reply.status == 403
    assert reply.body == b"it is for those who show a client certificate\n"
    assert error_code(ask(server, anyone, Get(1, b"private/c.txt"))) == 8
    ann = Visitor("", 200, 0, certificate=ClientCertificate("ann", (), ()))
    assert fetch(server, ann, "/private/c.txt").status == 200


def test_certificates_that_nobody_asked_for(make: Make) -> None:
    server = make(certificates=False)
    ann = Visitor("", 200, 0, certificate=ClientCertificate("ann", (), ()))
    assert fetch(server, ann, "/private/c.txt").status == 401


def test_without_keys_there_are_no_links(make: Make) -> None:
    server = make(key=None)
    visitor = Visitor("", 401, 8, link=link_to("private"))
    assert fetch(server, visitor, "/private/c.txt").status == 401
    assert error_code(ask(server, visitor, Get(1, b"private/c.txt"))) == 8
    assert read(server, visitor, "private/c.txt") == b""
    (server.root / "public" / f"a{visitor.link}").write_text(f"{CANARY} odd\n")
    assert canaries(read(server, ANYONE, f"public/a{visitor.link}")) == {"odd"}


def test_passwords_over_connections_that_others_can_read(make: Make) -> None:
    far = with_password("", "ann", "secret", 403, 8, far=True)
    server = make()
    sentence = "a password or token is taken over TLS only: this connection can be read by others"
    assert fetch(server, far, "/private/c.txt").body.decode() == f"{sentence}\n"
    (error,) = ask(server, far, Get(1, b"private/c.txt"))
    assert (error.code, error.sentence) == (8, sentence)
    anyone = Visitor("", 403, 8, far=True)
    assert sentence in fetch(server, anyone, "/private/c.txt").body.decode()
    server = make(insecure=True)
    assert fetch(server, far, "/private/c.txt").status == 200
    assert error_code(ask(server, far, Get(1, b"private/c.txt"))) == 0
    assert fetch(server, anyone, "/private/c.txt").status == 401


def test_passwords_over_tls(make: Make) -> None:
    server = make()
    client = server.connect()
    client.connection.transport.client = ("192.0.2.7", 9)
    client.connection.transport.secure = True
    reply = client.fetch("/private/c.txt", *with_password("", "ann", "secret").fields)
    assert reply.status == 200


def test_rules_that_change(make: Make) -> None:
    server = make()
    anyone = ANYONE
    assert fetch(server, anyone, "/private/c.txt").status == 401
    server.rules_file.write_bytes(b"/** anyone read\n")
    fetch(server, anyone, "/")
    server.wait(1)
    fetch(server, anyone, "/")
    server.wait(1)
    assert fetch(server, anyone, "/private/c.txt").status == 200
    server.rules_file.write_bytes(b"/** anyone rad\n")
    fetch(server, anyone, "/")
    server.wait(1)
    fetch(server, anyone, "/")
    server.wait(1)
    assert fetch(server, anyone, "/private/c.txt").status == 200
    assert len(server.warnings) == 1
    server.rules_file.write_bytes(b"/** anyone nothing\n")
    fetch(server, anyone, "/")
    server.wait(1)
    fetch(server, anyone, "/")
    server.wait(1)
    assert fetch(server, anyone, "/private/c.txt").status == 401


def test_the_log_has_names_and_no_secrets(server: GuardedServer, log: Log) -> None:
    for visitor in VISITORS:
        fetch(server, visitor, "/private/c.txt")
        fetch(server, visitor, "/private/")
        ask(server, visitor, Get(1, b"private/c.txt"), Tree(1, b"private"))
        read(server, visitor, "private/c.txt")
    text = "\n".join(log.told + log.lines)
    assert "ann@127.0.0.1:1 http GET /private/c.txt: 200 complete" in text
    assert "ci@127.0.0.1:1 http GET /private/c.txt: 200 complete" in text
    assert "ann@127.0.0.1:1 native GET private/c.txt: complete" in text
    assert "signed=..." in text
    for secret in ("secret", "t0k3n", "Secret", "wrong ", *secrets_of_links()):
        assert secret not in text.replace("the login was wrong", "")


def secrets_of_links() -> set[str]:
    return {visitor.link[-43:] for visitor in VISITORS if visitor.link}
