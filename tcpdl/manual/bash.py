"""Completion for bash, 4 or later. Imports `manual.model`.

What is made is a table of each command's options, and functions that are always the same. They need
nothing but bash: the package bash-completion only loads them, by the name of their file.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping

from tcpdl.manual.model import Command, Completes, Option

_KINDS = {Completes.FILES: "f", Completes.FOLDERS: "d", Completes.NOTHING: "-"}

_FUNCTIONS = r"""
# Completes the word at the cursor for the command $2, of which the function $1 knows the table, and
# whose words begin with number $3. The further ones say what is offered for each of its arguments,
# as in the table; the last holds for all that come after.
_tcpdl_complete() {
    local word=${COMP_WORDS[COMP_CWORD]} at=$COMP_CWORD before='' used=''
    local names kind i one IFS=$' \t\n'
    local -a table arguments=("${@:4}")
    "$1" "$2"

    # Bash splits words at "=" and ":", as in --root=/srv and users:FILE, and replaces only what is
    # behind them. "at" becomes the place where the word begins.
    if [[ $word == [=:] ]]; then
        word='' at=$((at + 1))
    fi
    while [[ ${COMP_WORDS[at - 1]} == : ]]; do
        before=${COMP_WORDS[at - 2]}:$before at=$((at - 2))
    done
    if [[ ${COMP_WORDS[at - 1]} == = ]]; then
        at=$((at - 1))
    fi

    for ((i = $3; i < at; i++)); do
        if _tcpdl_find "${COMP_WORDS[i]}"; then
            used+=" $names "
            [[ $kind == ! ]] && continue
            i=$((i + 1))
            [[ ${COMP_WORDS[i]} == = ]] && ((i < at)) && i=$((i + 1))
            if ((i >= at)); then
                _tcpdl_offer "$kind"
                return
            fi
        elif [[ ${COMP_WORDS[i]} != -* && ${#arguments[@]} -gt 1 ]]; then
            arguments=("${arguments[@]:1}")
        fi
        while [[ ${COMP_WORDS[i + 1]} == [=:] ]] && ((i + 1 < at)); do
            i=$((i + 2))
        done
    done

    if [[ $word != -* ]]; then
        _tcpdl_offer "${arguments[0]}"
        return
    fi
    for ((i = 0; i < ${#table[@]}; i += 3)); do
        [[ $used == *" ${table[i]} "* && ${table[i + 2]} == once ]] && continue
        _tcpdl_offer "${table[i]}"
    done
}

# Finds the option $1 in the table: sets names and kind.
_tcpdl_find() {
    for ((one = 0; one < ${#table[@]}; one += 3)); do
        names=${table[one]} kind=${table[one + 1]}
        [[ ,$names, == *,"$1",* ]] && return
    done
    return 1
}

# Offers files (f), folders (d), nothing (-), or those of the words in $1 that begin with what is
# there.
_tcpdl_offer() {
    case $1 in
    f) compopt -o default ;;
    d) compopt -o dirnames ;;
    - | '') ;;
    *)
        for one in ${1//,/ }; do
            [[ $one == "$before$word"* && $one != "$before" ]] || continue
            [[ $one == *: ]] && compopt -o nospace
            COMPREPLY+=("${one#"$before"}")
        done
        # What is behind users: or unix: is a file.
        [[ -z $before ]] || compopt -o default
        ;;
    esac
}
"""


def completion(program: str, commands: Iterable[Command]) -> str:
    """What completes `program`, whose first argument is one of `commands`."""
    own = {command.name.removeprefix(f"{program} "): command for command in commands}
    names = shlex.quote(",".join([*own, "--help", "--version"]))
    return "\n".join(
        [
            *_head(program, own),
            "_tcpdl() {",
            "    COMPREPLY=()",
            "    if ((COMP_CWORD == 1)); then",
            "        local word=${COMP_WORDS[1]} before='' one",
            f"        _tcpdl_offer {names}",
            "        return",
            "    fi",
            "    case ${COMP_WORDS[1]} in",
            *(
                f"    {name}) _tcpdl_complete {_table(program)} {name} 2 {_arguments(command)} ;;"
                for name, command in own.items()
            ),
            "    esac",
            "}",
            "",
            f"complete -F _tcpdl {program}",
            "",
        ]
    )


def plugin(host: Command, command: Command) -> str:
    """What completes `host`, twistd, which runs `command` as its plugin tcpdl; the names of other
    plugins are not known."""
    name = host.name
    return "\n".join(
        [
            *_head(name, {name: host, "tcpdl": command}),
            f"_tcpdl_{name}() {{",
            "    COMPREPLY=()",
            "    local i",
            "    for ((i = 1; i < COMP_CWORD; i++)); do",
            "        if [[ ${COMP_WORDS[i]} == tcpdl ]]; then",
            f"            _tcpdl_complete {_table(name)} tcpdl $((i + 1)) -",
            "            return",
            "        fi",
            "    done",
            f"    _tcpdl_complete {_table(name)} {name} 1 tcpdl",
            "}",
            "",
            f"complete -F _tcpdl_{name} {name}",
            "",
        ]
    )


def _head(program: str, commands: Mapping[str, Command]) -> Iterator[str]:
    yield f"# Completion of {program} for bash. Made by tcpdl.manual of the tables of options."
    yield "# shellcheck shell=bash disable=SC2054 # commas join what is one element"
    yield ""
    yield "# The options of a command: their names, what is offered for a value (f: files,"
    yield "# d: folders, -: nothing, !: it takes none; or words), and how often they are given."
    yield f"{_table(program)}() {{"
    yield "    table=()"
    yield "    case $1 in"
    for name, command in commands.items():
        yield f"    {name})"
        yield "        table=("
        for option in command.options:
            often = "often" if option.repeatable else "once"
            yield f"            {','.join(option.names)} {shlex.quote(_kind(option))} {often}"
        yield "        )"
        yield "        ;;"
    yield "    esac"
    yield "}"
    yield _FUNCTIONS


def _table(program: str) -> str:
    """The function that knows the options: these files are loaded into one shell."""
    return f"_tcpdl_table_of_{program}"


def _kind(option: Option) -> str:
    if not option.value:
        return "!"
    return ",".join(option.choices) or _KINDS[option.completes]


def _arguments(command: Command) -> str:
    kinds = [_KINDS[one.completes] for one in command.arguments]
    if not command.arguments or not command.arguments[-1].many:
        kinds.append("-")
    return " ".join(kinds)
