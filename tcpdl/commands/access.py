"""The options that say whom to trust and who asks. Imports `tcpdl.client`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from tcpdl.client.access import Access
from tcpdl.client.credentials import Netrc, default_netrc, read_token
from tcpdl.client.errors import BadRequest
from tcpdl.client.url import Location
from tcpdl.wire.text import printable

PASSWORD = "TCPDL_PASSWORD"  # noqa: S105 - what the variable is called
"""The environment variable that has the password of `--login`."""


def add_access(parser: argparse.ArgumentParser) -> None:
    """Let `parser` take these options."""
    group = parser.add_argument_group(
        "with TLS (tcpdls:// or https://), and for servers that want a login"
    )
    group.add_argument(
        "--ca-file",
        default="",
        metavar="PEM",
        help="trust the certificates in PEM, and not the system's",
    )
    group.add_argument(
        "--pin",
        dest="pins",
        action="append",
        default=[],
        metavar="sha256:HEX",
        help="trust the certificate with this SHA-256, whatever name it is for, and no other; may "
        "be repeated",
    )
    group.add_argument(
        "--cert",
        default="",
        metavar="PEM",
        help="show servers that ask for one the certificate in PEM, which has its key as well",
    )
    group.add_argument(
        "--login",
        metavar="USER",
        help=f"log in as USER; the password is asked for, unless ${PASSWORD} has it",
    )
    group.add_argument(
        "--token-file", metavar="FILE", help="log in with the token that is the line in FILE"
    )
    group.add_argument(
        "--netrc-file",
        metavar="FILE",
        help="look logins up in FILE, by the server's name ($NETRC, or ~/.netrc)",
    )


def access_of(
    options: argparse.Namespace, places: Sequence[Location], further: Sequence[Location] = ()
) -> Access:
    """How the servers of `places` are reached, and `further` ones of the same file.

    Asks for a password, if need be. Raises `BadRequest`.
    """
    login = token = netrc = None
    if options.login is not None and options.token_file is not None:
        raise BadRequest("give --login or --token-file, not both")
    if options.login is not None or options.token_file is not None:
        if len({place.origin for place in places}) > 1:
            raise BadRequest("a login is for one server; for several, use --netrc-file")
        if options.token_file is not None:
            token = read_token(options.token_file)
        else:
            login = options.login, _password(options.login, places)
    elif options.netrc_file is not None:
        netrc = Netrc(options.netrc_file)
    else:
        netrc = default_netrc(os.environ)
    access = Access(
        ca_file=options.ca_file,
        pins=options.pins,
        certificate=options.cert,
        login=login,
        token=token,
        netrc=netrc,
    )
    access.name(*places)
    if netrc is not None:  # a login that was given is for the one server
        access.name(*further)
    return access


def _password(user: str, places: Sequence[Location]) -> str:
    """That of `user`: from the environment, or from the terminal."""
    if (password := os.environ.get(PASSWORD)) is not None:
        return password
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        raise BadRequest(
            f"there is no terminal to ask for the password; set {PASSWORD}, or use --token-file"
        ) from None
    from getpass import getpass  # it takes a while to import

    server = places[0].server if places else "the server"
    try:
        return getpass(f"password of {printable(user)} at {server}: ")
    except EOFError:
        raise BadRequest("no password was entered") from None
