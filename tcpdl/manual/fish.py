"""Completion for fish, 3 or later. Imports `manual.model`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tcpdl.manual.model import Command, Completes, Option

_VALUES = {
    Completes.FILES: "-r -F",
    Completes.FOLDERS: "-x -a '(__fish_complete_directories)'",
    Completes.NOTHING: "-x",
}
_ARGUMENTS = {
    Completes.FILES: "-F",
    Completes.FOLDERS: "-f -a '(__fish_complete_directories)'",
}


def completion(program: str, commands: Iterable[Command]) -> str:
    """What completes `program`, whose first argument is one of `commands`."""
    own = {command.name.removeprefix(f"{program} "): command for command in commands}
    lines = [
        f"# Completion of {program} for fish. Made by tcpdl.manual of the tables of options.",
        "",
        f"function __{program}_is",
        "    set -l words (commandline -opc)",
        '    test "$words[2]" = $argv[1]',
        "end",
        "",
        f"complete -c {program} -f",
    ]
    start = f"complete -c {program} -n __fish_is_first_token"
    lines += [f"{start} -a {name} -d {_quoted(one.summary)}" for name, one in own.items()]
    lines += [f"{start} -l help -d 'Show help and exit'"]
    lines += [f"{start} -l version -d 'Show the version and exit'"]
    for name, command in own.items():
        where = f"complete -c {program} -n {_quoted(f'__{program}_is {name}')}"
        lines.append("")
        for completes in sorted({one.completes for one in command.arguments}, key=str):
            if completes in _ARGUMENTS:
                lines.append(f"{where} {_ARGUMENTS[completes]}")
        lines += [f"{where} {one}" for one in _options(command)]
    return "\n".join([*lines, ""])


def plugin(host: Command, command: Command) -> str:
    """What completes the options of `command` behind `host tcpdl`, and `host` itself."""
    name = host.name
    behind = f"complete -c {name} -n 'contains tcpdl (commandline -opc)'"
    before = f"complete -c {name} -n 'not contains tcpdl (commandline -opc)'"
    return "\n".join(
        [
            f"# Completion of {name} for fish. Made by tcpdl.manual of the tables of options.",
            "",
            f"{before} -a tcpdl -d {_quoted(command.summary)}",
            *(f"{before} {one}" for one in _options(host)),
            "",
            f"{behind} -f",
            *(f"{behind} {one}" for one in _options(command)),
            "",
        ]
    )


def _options(command: Command) -> Iterator[str]:
    for option in command.options:
        names = " ".join(
            f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
        )
        said = f"{names} {_value(option)}" if option.value else names
        yield f"{said} -d {_quoted(_short(option.help))}"


def _value(option: Option) -> str:
    if any(one.endswith(":") for one in option.choices):
        # They go on with a file, which fish completes behind a colon.
        return f"-r -F -a {_quoted(' '.join(option.choices))}"
    if option.choices:
        return f"-x -a {_quoted(' '.join(option.choices))}"
    return _VALUES[option.completes]


def _short(text: str) -> str:
    """The first clause: fish shows it beside the option, in one line."""
    for end in ("; ", ": ", " ("):
        text = text.partition(end)[0]
    return text[:1].upper() + text[1:]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
