"""Targets for a fuzzer: files of users, rules and keys, and what a client shows to be let in.

    python tests/fuzz/fuzz_access.py --seed                       write the corpus anew
    python tests/fuzz/fuzz_access.py --rules tests/fuzz/corpus/rules -max_total_time=180

The second needs atheris, which nothing else here does, and takes libFuzzer's options; the targets
are `--rules`, `--users`, `--keys`, `--proof` and `--links`. What is found goes to the first folder
that is named. tests/fuzz/test_corpus.py runs the targets over the corpus.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator

from tcpdl.access import keys as link_keys
from tcpdl.access import rules as rule_files
from tcpdl.access import users as user_files
from tcpdl.access.patterns import Word
from tcpdl.access.proof import of_authorization, of_login
from tcpdl.wire import links as expiring
from tcpdl.wire.login import PROOF_MOST, Login
from tcpdl.wire.text import visible
from tests.fuzz.running import main

WHO = [None, "ann", "bob", "nobody-names-me"]


def rules(data: bytes) -> None:
    """Names, then after an empty line rules: each name is held against them in three ways."""
    asked, _, text = data.partition(b"\n\n")
    try:
        read = rule_files.parse(text)
    except rule_files.RulesError as problem:
        why = str(problem)
    else:
        why = ""
        for name in asked.split(b"\n")[:8]:
            segments = tuple(part for part in name.split(b"/") if part)
            for user in WHO:
                permitted = read.of(user)
                level = permitted.level(segments)
                assert level is first_that_fits(text, segments, user)
                if segments:
                    assert permitted.within(segments[:-1])(segments[-1]) is level
    assert visible(why) == why


def first_that_fits(text: bytes, segments: tuple[bytes, ...], user: str | None) -> object:
    """The same, from the words of the rules, by regular expressions."""
    path = "".join(
        "/" + segment.decode("utf-8", "surrogateescape").replace("/", "") for segment in segments
    )
    for line in text.decode("utf-8", "surrogateescape").removeprefix("\ufeff").split("\n"):
        words = rule_files._words(line.rstrip("\r"))
        if not words:
            continue
        pattern, who, level = words
        names = "".join(character for character, _ in who).split(",")
        about = names == ["anyone"] or (user is not None and (names == ["users"] or user in names))
        if about and as_expression(pattern).fullmatch(path):
            return rule_files.LEVELS["".join(character for character, _ in level)]
    return rule_files.Level.NOTHING


def as_expression(pattern: Word) -> re.Pattern[str]:
    parts: list[list[tuple[str, bool]]] = []
    for character, literal in pattern:
        if character == "/":
            parts.append([])
        else:
            parts[-1].append((character, literal))
    wild = {("*", False): "[^/]*", ("?", False): "[^/]"}
    made = ""
    for part in parts:
        if part == [("*", False)] * 2:
            made += "(?:/[^/]+)*"
        elif part:  # the root is a slash alone
            made += "/(?=[^/])" + "".join(wild.get(one) or re.escape(one[0]) for one in part)
    return re.compile(made, re.DOTALL)


def users(data: bytes) -> None:
    """`data` is a file of users."""
    try:
        read = user_files.parse(data)
    except user_files.UsersError as problem:
        said = str(problem)
        assert said.startswith("line ")
        hashes = re.findall(rb"[$]([A-Za-z0-9+/]{12,})", data)
        assert not [one for one in hashes if one.decode() in said]
        return
    for name in read.names:
        user_files.check_name(name)
        assert name not in user_files.parse(user_files.without(data, name)).names
    line = user_files.token_line("token")
    assert user_files.parse(user_files.with_line(data, "cleo", line)).with_token(b"token") == "cleo"
    assert read.with_token(data[:40]) is None


def keys(data: bytes) -> None:
    """`data` is a file of keys."""
    try:
        read = link_keys.parse(data)
    except link_keys.KeysError:  # whose sentences quote nothing
        return
    assert 1 <= len(read) <= link_keys.KEYS_MOST
    assert all(len(key) >= expiring.KEY_LEAST for key in read)
    again = link_keys.parse(link_keys.with_new_key(data))
    assert again[1:] == read[: link_keys.KEYS_MOST - 1]


def proof(data: bytes) -> None:
    """`data` is the value of an Authorization field, and the body of a login."""
    shown = of_authorization(data.decode("latin-1"))
    if shown is not None:
        assert len(shown.secret) + len(shown.user or b"") <= PROOF_MOST
        if shown.user is None:
            assert b"Bearer " + shown.secret == b"Bearer " + data.strip(b" \t").split(b" ")[-1]
        else:
            again = f"Basic {b64encode(shown.user + b':' + shown.secret).decode()}"
            assert of_authorization(again) == shown
    if data:
        login = Login.parse(0, data)
        assert login.body() == data
        given = of_login(login)
        if given is not None:
            both = b"" if given.user is None else given.user + b"\0"
            assert data[1:] in (both + given.secret, given.user)
            secret = repr(given.secret)[2:-1]
            assert len(given.secret) < 8 or secret in repr(given.user) or secret not in repr(given)
        assert repr(login) == f"Login(id=0, scheme={data[0]})"


def links(data: bytes) -> None:
    """`data` is a name, with or without a link at its end."""
    key = b"k" * expiring.KEY_LEAST
    found = expiring.split(data)
    if found is not None:
        name, link = found
        assert name + b"?" + link.query.encode() == data
        segments = tuple(part for part in name.split(b"/") if part)
        assert expiring.reach([key], segments, link) is None
        assert link.query.partition("signed=")[2] not in repr(link)
        made = expiring.sign(key, segments[:1], link.until)
        assert expiring.reach([b"other" * 8, key], segments, made) == segments[:1]
        assert expiring.without_signature(data).endswith(b"&signed=...")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "rules": rules,
    "users": users,
    "keys": keys,
    "proof": proof,
    "links": links,
}


# The corpus.


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Folder, name and content of each file of the corpus."""
    for name, text in rule_texts().items():
        yield "rules", name, b"a/b.txt\npub/x/y\n\n" + text
    password = str(user_files.Password(15, 8, 3, b"salt" * 4, b"key!" * 8)).encode()
    token = user_files.token_line("abc").encode()
    yield from (
        ("users", "password", b"ann:" + password + b"\n"),
        ("users", "token", b"# tokens\n\nbob:" + token + b"\r\nann:" + token),
        ("users", "two-passwords", b"ann:" + password + b"\nann:" + password),
        ("users", "too-much-memory", b"ann:" + password.replace(b"ln=15", b"ln=40")),
        ("users", "cut-off", b"ann:" + password[:40]),
        ("users", "reserved", b"anyone:" + token),
        ("users", "of-another-kind", b"ann:$2y$05$abcdefghijklmnopqrstuv"),
        ("keys", "base64", b"# key\n" + b64encode(b"k" * 32) + b"\n"),
        ("keys", "hexadecimal", b"6b" * 32 + b"\n" + b64encode(b"\xff" * 40)),
        ("keys", "too-short", b"abcd"),
        ("keys", "too-many", (b64encode(b"k" * 32) + b"\n") * 5),
        ("proof", "basic", b"Basic " + b64encode(b"ann:secret")),
        ("proof", "bearer", b"Bearer abc.DEF-123~+/=="),
        ("proof", "password", b"\1ann\0secret"),
        ("proof", "token", b"\2abcdefgh"),
        ("proof", "unknown", b"Digest username=ann"),
        ("links", "link", b"a/b?" + expiring.sign(b"x" * 32, (b"a",), 2**31).query.encode()),
        ("links", "no-link", b"a/b?until=1&signed=x"),
    )


def rule_texts() -> dict[str, bytes]:
    return {
        "all": b"/** anyone read\n",
        "some": b"# who\n/pub/** anyone read\n/** users list\n",
        "names": b"/a/*.txt ann,bob read\r\n/a/?.tx? users nothing\n",
        "quoted": b'"/a b/*" anyone list\n/a\\*b anyone read\n/\\"x anyone read',
        "root": b"/ anyone list\n/**/b.txt ann read\n/a/**/b.txt bob read\n",
        "unclosed": b'"/a anyone read',
        "no-slash": b"a anyone read",
        "stars": b"/a*b*c*d*/**/x*y anyone read\n",
        "words": b"/a anyone",
        "level": b"/a anyone write",
        "not-utf-8": b"/\xff\xfe/* anyone read\n",
    }


if __name__ == "__main__":
    main(__doc__ or "", TARGETS, seeds())
