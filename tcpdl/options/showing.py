"""Settings as they are shown to people. Imports the modules beside it and `wire`."""

from __future__ import annotations

from tcpdl.options.configured import ConfiguredOptions
from tcpdl.options.file import is_secret
from tcpdl.options.known import Kind
from tcpdl.options.settings import Setting
from tcpdl.wire.text import visible

UNSET = "unset"


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
    if is_secret(setting):
        return f"{visible(setting.value.partition(':')[0])}:..."
    return visible(setting.value)
