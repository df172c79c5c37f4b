"""What the tables of `usage.Options` say, as the manual and `--help` tell it.

Imports Twisted and `manual.model`.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from twisted.python import usage

from tcpdl.manual.model import Completes, Group, Option, sentence, spelt

_GENERAL = frozenset({"config", "help", "version"})
"""Options of which each class has some."""

_TAG_MOST = 22
"""Columns of names and values that a text stands beside; it stands below longer ones."""


def help_of(options: usage.Options, width: int) -> str:
    """The options as text for a terminal of `width` columns, by subject."""
    indent = " " * (_TAG_MOST + 4)
    lines = []
    for group in groups_of(options):
        lines += ["", f"{group.title}:"]
        for option in group.options:
            tag = f"{'' if len(option.names) > 1 else '    '}{spelt(option)}"
            default = option.default
            shown = f" [{default}]" if default and default not in option.help else ""
            text = textwrap.wrap(sentence(option.help) + shown, max(width - len(indent), 20))
            if len(tag) <= _TAG_MOST:
                lines.append(f"  {tag:{_TAG_MOST}}  {text.pop(0)}")
            else:
                lines.append(f"  {tag}")
            lines += [f"{indent}{line}" for line in text]
    return "\n".join(lines) + "\n"


def groups_of(options: usage.Options) -> Iterator[Group]:
    """Options by the class that has them, whose docstring says what they are about; those that
    take no value last."""
    known = options_of(options)
    for cls in type(options).__mro__:
        if not _is_ours(cls):
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
    for one in (cls, *cls.__bases__):
        if one is cls or not (_is_ours(one) or one is usage.Options):
            found |= {row[0] for row in vars(one).get("optParameters", ())}
            found |= {row[0] for row in vars(one).get("optFlags", ())}
            found |= {name[4:].replace("_", "-") for name in vars(one) if name.startswith("opt_")}
    return found


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("tcpdl.")


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
