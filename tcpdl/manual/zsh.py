"""Completion for zsh. Imports `manual.model`. That of `twistd tcpdl` is zsh's: it asks Twisted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tcpdl.manual.model import Argument, Command, Completes, Option

_ACTIONS = {Completes.FILES: "_files", Completes.FOLDERS: "_files -/", Completes.NOTHING: " "}


def completion(program: str, commands: Iterable[Command]) -> str:
    """What completes `program`, whose first argument is one of `commands`."""
    own = {command.name.removeprefix(f"{program} "): command for command in commands}
    described = (f"{name}:{command.summary}" for name, command in own.items())
    lines = [
        f"#compdef {program}",
        "# Made by tcpdl.manual of the tables of options.",
        "",
        f"_{program}() {{",
        "  local context state state_descr line",
        "  typeset -A opt_args",
        "  local -a commands=(",
        *(f"    {_quoted(one)}" for one in described),
        "  )",
        "",
        "  _arguments -C '1:command:->command' '*::argument:->argument' \\",
        "    '(- *)--help[show help and exit]' '(- *)--version[show the version and exit]'",
        "  case $state in",
        "  command) _describe command commands ;;",
        "  argument)",
        "    case $words[1] in",
    ]
    for name, command in own.items():
        lines += [f"    {name})", "      _arguments -s \\"]
        specs = [*map(_option, command.options), *_arguments(command.arguments)]
        lines += [f"        {spec} \\" for spec in specs]
        lines += ["        && return", "      ;;"]
    lines += ["    esac", "    ;;", "  esac", "}", "", f'_{program} "$@"', ""]
    return "\n".join(lines)


def _option(option: Option) -> str:
    """A specification of `_arguments`: names that exclude each other, what it is for, its value,
    what is offered for that."""
    said = f"[{_escaped(option.help)}]"
    if option.value:
        said += f":{_escaped(option.value)}:{_action(option)}"
    names = [
        (f"{name}=" if name.startswith("--") else f"{name}+") if option.value else name
        for name in option.names
    ]
    before = "*" if option.repeatable else f"({' '.join(option.names)})"
    if len(names) == 1:
        return _quoted(f"{'*' if option.repeatable else ''}{names[0]}{said}")
    return f"{_quoted(before)}{{{','.join(names)}}}{_quoted(said)}"


def _action(option: Option) -> str:
    if not option.choices:
        return _ACTIONS[option.completes]
    words = " ".join(option.choices).replace(":", "\\:")
    if any(one.endswith(":") for one in option.choices):
        # They go on, with a file, and have no blank behind them.
        return f"{{ compset -P 1 '*\\:' && _files || compadd -S '' -- {words} }}"
    return f"({words})"


def _arguments(arguments: Iterable[Argument]) -> Iterator[str]:
    for number, argument in enumerate(arguments, 1):
        where = "*" if argument.many else f"{number}"
        optional = ":" if argument.optional and not argument.many else ""
        said = _escaped(argument.value)
        action = _ACTIONS[argument.completes]
        if argument.completes is Completes.NOTHING:
            # A message that says what the argument is keeps an option from being completed.
            action = f"{{ [[ $PREFIX == -* ]] || _message {said} }}"
        yield _quoted(f"{where}{optional}:{said}:{action}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _escaped(text: str) -> str:
    """`text` where brackets and colons would end it."""
    for one in "\\[]:":
        text = text.replace(one, f"\\{one}")
    return text
