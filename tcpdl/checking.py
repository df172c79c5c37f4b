"""`tcpdl check-config [FILE]`: what is wrong with a configuration, or what it would serve.

Imports `tcpdl.serve` and what the service is made of, and the reactor when it is called. No port is
opened, and nothing is made or changed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.python import usage

from tcpdl.logs.file import STDOUT
from tcpdl.options.settings import Misconfigured, Problem
from tcpdl.options.showing import shown_value, table
from tcpdl.ports import Port, endpoint, named
from tcpdl.serve import ServeOptions
from tcpdl.server.activation import ECHO, FILES, TLS
from tcpdl.server.certificate import BadCertificate, Credentials
from tcpdl.server.listening import CannotListen, check_interface
from tcpdl.server.self_signed import NAME, state_folder
from tcpdl.service import advised
from tcpdl.wire.text import visible

DEFAULT = "/etc/tcpdl/tcpdl.toml"
"""The file that is checked if none is named."""


class CheckOptions(ServeOptions):
    """The daemon's options, with the file of them as an argument."""

    synopsis = "Usage: tcpdl check-config [FILE] [options]"
    longdesc = (
        f"Says what is wrong with the settings in FILE ({DEFAULT}), in the environment and in the "
        "options, and with the files that they name; or what the daemon would serve. It opens no "
        "port. The status is 0 if all is well, and 2 if not."
    )
    optFlags: list[list[Any]] = [  # noqa: N815, RUF012 - where usage.Options looks for them
        ["print", None, "Print all settings, and where each comes from."]
    ]
    argument = "config"
    one_argument = "give one file of settings"

    def _config(self) -> str | None:
        return super()._config() or DEFAULT


def check_config(arguments: Sequence[str]) -> int:
    """Say it; return the exit status."""
    options = CheckOptions()
    try:
        options.parseOptions(arguments)
    except Misconfigured as error:
        return _complain(error.problems)
    except usage.UsageError as error:
        sys.stderr.write(f"tcpdl: {visible(advised(error, 'tcpdl check-config --help'))}\n")
        return 2
    credentials: Credentials | None = None
    problems = [*_endpoints(options), *_access_log(options), *_state(options)]
    try:
        credentials = None if _yet_to_be_made(options) else options.credentials()
    except BadCertificate as error:
        problems.append(options.problem(str(error), "tls-key", "tls-client-ca", "tls-cert", "tls"))
    if problems:
        return _complain(problems)
    files = ", ".join(options.files())
    served = (f"{files}: ok", *_served(options, credentials))
    for line in table(options) if options["print"] else served:
        print(visible(line))
    for warning in _warnings(options, credentials):
        sys.stderr.write(f"warning: {visible(warning)}\n")
    return 0


def _complain(problems: Sequence[Problem]) -> int:
    for problem in problems:
        sys.stderr.write(f"{visible(str(problem))}\n")
    return 2


def _yet_to_be_made(options: CheckOptions) -> bool:
    """Whether there will be a certificate of the daemon's own, once it has been started."""
    folder = options["state-dir"] or state_folder(os.environ)
    return options["tls"] is not None and not os.path.exists(os.path.join(folder, NAME))


def _endpoints(options: CheckOptions) -> Iterator[Problem]:
    """What is wrong with descriptions of endpoints."""
    from twisted.internet import reactor

    for description in options["listen"]:
        if description.startswith("systemd:"):
            continue  # that is known when systemd starts it
        try:
            endpoint(reactor, description)
        except CannotListen as error:
            yield options.problem(str(error), "listen")


def _access_log(options: CheckOptions) -> Iterator[Problem]:
    """What keeps lines from being added to the file for them."""
    path = options.access_log_file()
    if path is None or path == STDOUT or not os.path.exists(path):
        return
    if os.path.isdir(path):
        yield options.problem(f"--access-log: {path} is a folder; give a file in it", "access-log")
    elif not os.access(path, os.W_OK):
        yield options.problem(f"--access-log: this user may not write {path}", "access-log")


def _state(options: CheckOptions) -> Iterator[Problem]:
    """What keeps the daemon from keeping anything in the folder for that."""
    folder = options["state-dir"]
    if folder is None or not os.path.lexists(folder):
        return  # it is made when it is needed
    if not os.path.isdir(folder):
        yield options.problem(f"--state-dir: {folder} is not a folder", "state-dir")
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield options.problem(f"--state-dir: this user may not write in {folder}", "state-dir")


def _warnings(options: CheckOptions, credentials: Credentials | None) -> Iterator[str]:
    yield from options.warnings
    # systemd may make them when it starts the daemon.
    for name, folder in _written_in(options):
        if not os.path.isdir(folder):
            yield f"{name}: there is no folder {folder}; it has to be there when the daemon starts"
    # Nor need addresses be there before the network is.
    for interface in {port.interface: None for port in named(options) if port.interface}:
        try:
            check_interface(interface)
        except CannotListen as error:
            yield f"{error}; it has to be one when the daemon starts"
    if credentials is not None:
        yield from credentials.complaints
    secrets = [options["link-key"], *options.get("credCheckers", ())]
    for kept in (getattr(one, "file", one) for one in secrets):
        if getattr(kept, "exposed", False):
            yield f"{kept.path}: others can read or change it; chmod 600 ends that"


def _written_in(options: CheckOptions) -> Iterator[tuple[str, str]]:
    """The folders of what is made at the start, and the options that name it."""
    log = options.access_log_file()
    if log is not None and log != STDOUT:
        yield "access-log", os.path.dirname(log)
    if options["admin"] is not None and options["admin"].path is not None:
        yield "admin", os.path.dirname(options["admin"].path)


def _served(options: CheckOptions, credentials: Credentials | None) -> Iterator[str]:
    """What the daemon would be, a line for each thing."""
    for name, folder in options.folders().items():
        yield f"  serves {os.path.abspath(folder)}{f' as {name}/' if name else ''}"
    for port in named(options):
        yield f"  on {_where(port)}{_SPOKEN[port.kind]}"
    if credentials is not None:
        ends = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(credentials.ends))
        yield f"  TLS: {credentials.pin}, until {ends}{_required(options)}"
    elif options["tls"] is not None:
        yield f"  TLS: a certificate of its own, made when it starts{_required(options)}"
    else:
        yield "  TLS: none"
    yield f"  read by {_readers(options)}"


_SPOKEN = {FILES: "", TLS: ", over TLS only", ECHO: ", the echo service"}


def _where(port: Port) -> str:
    if port.handed is not None:
        return f"socket {port.handed}, which it is given"
    if port.description is not None:
        return port.description
    return f"port {port.number} of {port.interface or 'every address'}"


def _required(options: CheckOptions) -> str:
    return "; nothing without it" if options["tls-required"] else ""


def _readers(options: CheckOptions) -> str:
    """Who may read something."""
    said = [f"whoever {options['rules'].path} says"] if options["rules"] is not None else []
    said += [
        f"whoever {kept.path} says ({os.fsdecode(name)}/)"
        for name, kept in options.mount_rules.items()
    ]
    logins = [shown_value(setting) for setting in options.settings.get("auth", [])]
    if options["tls-client-ca"] is not None:
        logins.append(f"certificates of {options['tls-client-ca']}")
    if logins and not said:
        said.append("whoever has logged in")
    if not said:
        return "anyone"
    return "; ".join([*said, *([f"logins: {', '.join(logins)}"] if logins else [])])
