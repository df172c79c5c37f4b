"""`python -m tcpdl.manual.sample`: print the file of settings that is installed.

Imports the modules beside it and `tcpdl.options`. All settings are in it, made of what the options
say of themselves, so that it is complete whenever there is another one.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping

from tcpdl.manual.daemon import settings
from tcpdl.manual.model import Setting, find_options, sentence
from tcpdl.options.daemon import Options
from tcpdl.options.known import Kind
from tcpdl.options.showing import as_toml

CHOSEN = {"root": "/srv/tcpdl", "workers": "auto"}
"""What a service wants: the other settings are commented out."""

_EXAMPLES = {
    "access-log": "/var/log/tcpdl/access.log",
    "access-log-format": "text",
    "admin": "unix:/run/tcpdl/admin.sock",
    "auth": "users:/etc/tcpdl/users",
    "echo-port": "7",
    "echo-reply": "hello",
    "http-host": "files.example",
    "interface": "127.0.0.1",
    "log-format": "json",
    "log-level": "info",
    "link-key": "/etc/tcpdl/link-key",
    "listen": "tcp:8081:interface=127.0.0.1",
    "max-connections": "10000",
    "max-connections-per-address": "256",
    "max-connections-per-network": "1024",
    "max-rate": "50M",
    "max-rate-per-address": "10M",
    "max-rate-per-connection": "5M",
    "mount": "docs=/srv/docs",
    "mount-hidden": "docs",
    "mount-rules": "docs=/etc/tcpdl/docs.rules",
    "mount-symlinks": "docs=never",
    "port": "8080",
    "proxy-from": "127.0.0.1",
    "rules": "/etc/tcpdl/rules",
    "state-dir": "/srv/state",
    "tls": "self-signed",
    "tls-cert": "/etc/letsencrypt/live/files.example",
    "tls-client-ca": "/etc/tcpdl/clients.pem",
    "tls-key": "/etc/tcpdl/key.pem",
}
"""Values of options that have no default. Without one, a test finds that the line is of no use."""

_HEAD = """\
# The settings of tcpdl: man tcpdl.toml. What is commented out is the default, or, where there is
# none, an example. To see what is wrong with this file, or what the daemon makes of it:
#   tcpdl check-config
# Once it runs, SIGHUP has it read this file again (systemctl reload tcpdl).
"""

_ROOTS = """\
# Folders under names, in place of root. Tables stand at the end: what comes below belongs to them.

#[roots]
#docs = "/srv/docs"

#[roots.music]
#path = "/srv/music"
#hidden = true
#symlinks = "never"
#rules = "/etc/tcpdl/music.rules"
"""


def sample() -> str:
    """The file."""
    kinds = Options({}).known.kinds
    lines = [_HEAD]
    for group in settings():
        lines.append(f"\n### {group.title}\n")
        for setting in group.settings:
            lines += _lines(setting, kinds)
    return "\n".join([*lines, _ROOTS])


def _lines(setting: Setting, kinds: Mapping[str, Kind]) -> Iterator[str]:
    option = setting.option
    # In a file, names have no dashes before them.
    parts = find_options(sentence(option.help))
    name = option.name
    said = "".join(part[2:] if part[2:] in kinds else part for part, _ in parts)
    yield from textwrap.wrap(said, 98, initial_indent="# ", subsequent_indent="# ")
    yield f"{'' if name in CHOSEN else '#'}{name} = {_value(setting, kinds[name])}"
    yield ""


def _value(setting: Setting, kind: Kind) -> str:
    name = setting.option.name
    if kind is Kind.FLAG:
        return "false"
    value = CHOSEN.get(name) or setting.option.default or _EXAMPLES.get(name, "")
    return as_toml(kind, [value])


if __name__ == "__main__":
    sys.stdout.write(sample())
