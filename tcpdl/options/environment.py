"""Settings from environment variables. Imports the modules beside it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from tcpdl.options.known import Kind, Known
from tcpdl.options.settings import Origin, Problem, Setting

PREFIX = "TCPDL_"

_OTHERS = frozenset({"TCPDL_CONFIG", "TCPDL_PASSWORD"})
"""Variables that are no settings: what names the file of them, and what the client reads."""

STATE = "STATE_DIRECTORY"
"""What systemd calls the folder, or the folders parted by colons, that it has made for a service to
keep its state in (`StateDirectory=`)."""

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def variable(name: str) -> str:
    """What the variable of the option `name` is called."""
    return PREFIX + name.upper().replace("-", "_")


def read_environment(environ: Mapping[str, str], known: Known) -> Iterator[Setting | Problem]:
    """The settings that `environ` has, and what is wrong with others. A variable that is empty
    is as good as none."""
    names = {variable(name): name for name in known.kinds}
    for key, text in environ.items():
        if not key.startswith(PREFIX) or key in _OTHERS or not text:
            continue
        origin = Origin(f"${key}")
        name = names.get(key)
        if name is None:
            yield Problem(origin, _unknown(key, known))
        elif text.startswith("tcp://"):
            yield Problem(origin, f"{text!r} is no setting of ours; {_KUBERNETES}")
        else:
            yield from _settings(name, known.kinds[name], text, origin)


def read_manager(environ: Mapping[str, str], known: Known) -> Iterator[Setting]:
    """The settings that hold unless anything else is said, since the service manager has made ready
    what they name."""
    folder, _, _ = environ.get(STATE, "").partition(":")
    if "state-dir" in known.kinds and folder.startswith("/"):
        yield Setting("state-dir", folder, Origin(f"${STATE}"))


def _settings(name: str, kind: Kind, text: str, origin: Origin) -> Iterator[Setting | Problem]:
    if kind is Kind.FLAG:
        said = text.strip().lower()
        if said in _TRUE or said in _FALSE:
            yield Setting(name, said in _TRUE, origin)
        else:
            yield Problem(origin, f"{text!r} is neither true nor false (1, yes, on; 0, no, off)")
    elif kind is Kind.LIST:
        try:
            values = split(text)
        except ValueError:
            yield Problem(origin, "a quote is not closed; blanks part the values, unless quoted")
            return
        yield from (Setting(name, value, origin) for value in values)
    else:
        yield Setting(name, text, origin)


def split(text: str) -> list[str]:
    """The values of a list: they are parted by blanks and line ends, except within quotes of
    either kind. A backslash is a character like others. Raises `ValueError`."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.escape = lexer.commenters = ""
    return list(lexer)


def _unknown(key: str, known: Known) -> str:
    if key.startswith(("TCPDL_SERVICE_", "TCPDL_PORT_")):
        return f"it is no option; {_KUBERNETES}"
    like = known.like(key[len(PREFIX) :])
    for name in known.kinds:
        if like == f"; did you mean {name}?":
            like = f"; did you mean ${variable(name)}?"
    return f"it is no option{like or '; tcpdl serve --help lists them'}"


_KUBERNETES = (
    "Kubernetes sets such variables for a service that is called tcpdl: say "
    "enableServiceLinks: false, or call it something else"
)
