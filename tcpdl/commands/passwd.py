"""`tcpdl passwd`: give a user of the daemon a password or a token. Imports `tcpdl.access`."""

from __future__ import annotations

import argparse
import getpass
import os
import sys

from tcpdl.access import files, users
from tcpdl.client.errors import BadRequest, CannotWrite
from tcpdl.commands.common import local_parser, need_terminal


def parser() -> argparse.ArgumentParser:
    """The options of `tcpdl passwd`."""
    made = local_parser(
        "passwd",
        "Give USER a password in FILE, for a daemon that has --auth users:FILE.\n"
        "One that runs takes it over within seconds.",
    )
    made.add_argument("file", metavar="FILE", help="it is made if it is not there")
    made.add_argument("user", metavar="USER")
    made.add_argument(
        "--token",
        action="store_true",
        help="make a token for programs instead, and print it, this once",
    )
    made.add_argument(
        "--delete", action="store_true", help="remove USER; with --token, the token alone"
    )
    made.add_argument(
        "--stdin", action="store_true", help="read the password from the first line of the input"
    )
    made.set_defaults(run=run)
    return made


def run(options: argparse.Namespace) -> int:
    """Do what `options` say; return the exit status."""
    name = options.user
    token = ""
    try:
        users.check_name(name)
        if options.delete:
            kind = "sha256" if options.token else ""
            files.change(
                options.file, lambda text: _checked(users.without(text or b"", name, kind))
            )
            return 0
        if options.token:
            token = users.new_token()
            line = users.token_line(token)
        else:
            line = str(users.hash_password(_password(name, from_input=options.stdin)))
        files.change(options.file, lambda text: _checked(users.with_line(text or b"", name, line)))
    except users.UsersError as problem:
        raise BadRequest(str(problem)) from None
    except files.FileError as problem:
        raise CannotWrite(str(problem)) from None
    if token:
        print(token)
    return 0


def _checked(text: bytes) -> bytes:
    """`text`, if a daemon can read it: what was broken before is better said now."""
    users.parse(text)
    return text


def _password(name: str, *, from_input: bool) -> bytes:
    """The new password of `name`. Raises `BadRequest` and `UsersError`."""
    if from_input:
        line = sys.stdin.buffer.readline(users.PASSWORD_MOST + 2)
        password = line.removesuffix(b"\n").removesuffix(b"\r")
        users.check_password(password)
        return password
    need_terminal("passwd", "somebody to type the password, or --stdin")
    try:
        first = os.fsencode(getpass.getpass(f"password of {name}: "))
        users.check_password(first)
        again = os.fsencode(getpass.getpass("the same again: "))
    except EOFError:
        raise BadRequest("nothing was entered") from None
    if first != again:
        raise BadRequest("the two are not the same; nothing was changed")
    return first
