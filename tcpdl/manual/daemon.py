"""The daemon's options as Twisted knows them. Imports Twisted, `tcpdl.options` and `model`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from twisted.python import usage
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]

from tcpdl.cli import COMMANDS
from tcpdl.manual.model import Argument, Command, Completes, Group, Option, Setting, Settings
from tcpdl.options.daemon import Options
from tcpdl.options.environment import variable

_GENERAL = frozenset({"config", "help", "version"})
"""Options of which each class has some."""


def serve() -> Command:
    """`tcpdl serve`, whose options are those of `twistd tcpdl`."""
    folder = Argument("DIR", "the folder to serve", Completes.FOLDERS, optional=True)
    options = Options({})
    return Command(
        "tcpdl serve",
        COMMANDS["serve"],
        (str(getattr(options, "longdesc", "")),),
        (folder,),
        tuple(_groups(options)),
    )


def settings() -> Iterator[Settings]:
    """The options that may stand in a file, by subject."""
    kinds = Options({}).known.kinds
    for group in serve().groups:
        found = tuple(
            Setting(option, kinds[option.name].value, variable(option.name))
            for option in group.options
            if option.name in kinds
        )
        if found:
            yield Settings(group.title, found)


def twistd() -> Command:
    """What `twistd` is told before the name of its plugin."""
    known = options_of(ServerOptions())
    group = Group("", tuple(known.values()))
    return Command("twistd", "run a service of Twisted", (), (), (group,))


def _groups(options: Options) -> Iterator[Group]:
    """Options by the class that has them, whose docstring says what they are about; those that
    take no value last."""
    known = options_of(options)
    for cls in type(options).__mro__:
        if cls is type(options) or not cls.__module__.startswith("tcpdl."):
            continue
        names = [name for name in known if name in _declared(cls) - _GENERAL]
        found = tuple(sorted((known.pop(name) for name in names), key=lambda one: not one.value))
        if found:
            yield Group((inspect.getdoc(cls) or "").partition("\n")[0].rstrip("."), found)
    yield Group("In general", tuple(known.values()))


def _declared(cls: type) -> set[str]:
    """The long names of the options that come with `cls`, or with one of Twisted's mixins that it
    is made with."""
    found = set()
    for base in cls.__mro__:
        if base is cls or not base.__module__.startswith("tcpdl."):
            if base is usage.Options:
                continue
            found |= {one[0] for one in vars(base).get("optParameters", ())}
            found |= {one[0] for one in vars(base).get("optFlags", ())}
            found |= {one[4:].replace("_", "-") for one in vars(base) if one.startswith("opt_")}
    return found


def options_of(options: usage.Options) -> dict[str, Option]:
    """All options that `options` takes, by their long names, in the order of the tables."""
    told = getattr(options, "compData", None) or usage.Completions()
    shorts = {
        long: f"-{short}"
        for short, long in sorted(options.synonyms.items())
        if len(short) == 1 and short != long
    }
    found = {}
    for declared in options.longOpt:
        name, takes_value, _ = declared.partition("=")
        if options.synonyms.get(name, name) != name:
            continue  # another name of one that is there already
        names = (f"--{name}",) if name not in shorts else (shorts[name], f"--{name}")
        default = options.defaults.get(name)
        action = told.optActions.get(name)
        found[name] = Option(
            names=names,
            value=_value(options, name, told) if takes_value else "",
            help=" ".join((options.docs.get(name) or "").split()).rstrip("."),
            default=str(default) if takes_value and default not in (None, "", []) else "",
            choices=_choices(action),
            completes=_completes(action),
            repeatable=name in told.multiUse,
        )
    return found


def _choices(action: usage.Completer | None) -> tuple[str, ...]:
    return tuple(map(str, action._items)) if isinstance(action, usage.CompleteList) else ()


def _completes(action: usage.Completer | None) -> Completes:
    if isinstance(action, usage.CompleteDirs):
        return Completes.FOLDERS
    return Completes.FILES if isinstance(action, usage.CompleteFiles) else Completes.NOTHING


def _value(options: usage.Options, name: str, told: usage.Completions) -> str:
    """What the value of an option is called: as its completion says, or what kind it is of, or
    else as the end of its name."""
    if name in told.descriptions:
        return str(told.descriptions[name])
    action = told.optActions.get(name)
    if choices := _choices(action):
        return "|".join(choices)
    completes = _completes(action)
    if completes is not Completes.NOTHING:
        return "DIR" if completes is Completes.FOLDERS else "FILE"
    coerce = coercion(options, name)
    if coerce is not None and isinstance(_tried(coerce, "60"), (int, float)):
        return "N"
    return name.rpartition("-")[2].upper()


def coercion(options: usage.Options, name: str) -> Callable[[str], Any] | None:
    """What makes a value of the text that is given to an option, if anything does."""
    return getattr(options._dispatch.get(name), "coerce", None)


def _tried(coerce: Callable[[str], Any], text: str) -> Any:
    try:
        return coerce(text)
    except usage.UsageError:
        return None
