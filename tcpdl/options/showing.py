"""Settings as they are shown to people. Imports the modules beside it and `wire`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tcpdl.options.configured import ConfiguredOptions
from tcpdl.options.file import is_secret
from tcpdl.options.known import Kind
from tcpdl.options.settings import Setting
from tcpdl.wire.text import visible

UNSET = "unset"
_COLUMN = 40


def shown(options: ConfiguredOptions, name: str) -> str:
    """What the option is set to, fit for a terminal, and without secrets."""
    settings = options.settings.get(name)
    if settings:
        return ", ".join(map(shown_value, settings))
    if options.known.kinds[name] is Kind.FLAG:
        return "false"
    default = options.defaults.get(name)
    return UNSET if default is None else visible(str(default))


def shown_value(setting: Setting) -> str:
    """What one setting says."""
    if isinstance(setting.value, bool):
        return "true" if setting.value else "false"
    return visible(_without_secret(setting))


def _without_secret(setting: Setting) -> str:
    value = str(setting.value)
    return f"{value.partition(':')[0]}:..." if is_secret(setting) else value


def table(options: ConfiguredOptions) -> Iterator[str]:
    """All settings as lines of TOML, each with where it comes from, and without secrets."""
    for name, kind in options.known.kinds.items():
        settings = options.settings.get(name)
        default = options.defaults.get(name)
        if settings:
            values = [
                one.value if isinstance(one.value, bool) else _without_secret(one)
                for one in settings
            ]
            text, origin = f"{name} = {as_toml(kind, values)}", str(settings[0].origin)
        elif kind is Kind.FLAG:
            text, origin = f"{name} = false", "default"
        elif default is not None:
            text, origin = f"{name} = {as_toml(kind, [str(default)])}", "default"
        else:
            text, origin = f"# {name}", UNSET
        yield f"{text:{_COLUMN}} # {origin}"


def as_toml(kind: Kind, values: Sequence[str | bool]) -> str:
    """What stands behind `=` for an option of that kind."""
    texts = [
        "true" if value is True else "false" if value is False else _quoted(value)
        for value in values
    ]
    if kind is Kind.LIST:
        return f"[{', '.join(texts)}]"
    (value,), (text,) = values[-1:], texts[-1:]
    is_number = isinstance(value, str) and value.isascii() and value.isdigit()
    return str(value) if kind is Kind.VALUE and is_number and str(int(value)) == value else text


def _quoted(text: str) -> str:
    """A string of TOML, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
