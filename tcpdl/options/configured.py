"""Options that may also stand in a file and in the environment. Imports the modules beside it.

What the service manager says, a file, the environment and the command line are each made a list of
settings, of which for every option the last source counts that has it. What holds is then parsed as
if it were all on a command line, so that it makes no difference where it stands; and what is found
to be wrong with it is told with where it stands.
"""

from __future__ import annotations

import getopt
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from twisted.python import usage

from tcpdl.options.environment import read_environment, read_manager
from tcpdl.options.file import read_file
from tcpdl.options.known import COMMANDS, Known
from tcpdl.options.paths import Find, finders, rebase, rebased, whole
from tcpdl.options.settings import COMMAND_LINE, Misconfigured, Problem, Setting, merge

_HEAD = re.compile("[:=]")
_NAMED = re.compile(r"--([a-z][a-z0-9-]*)")


class ConfiguredOptions(usage.Options):
    """Options that may also stand in a file and in the environment."""

    optParameters: list[list[Any]] = [
        ["config", None, None, "TOML file with any of these options; $TCPDL_CONFIG if left out."],
    ]

    compData = usage.Completions()

    paths: Mapping[str, Find] = {}
    """What finds the path in the values of options, besides those that `compData` completes as
    files. In a file, paths are relative to its folder."""

    words: list[str]
    """The whole configuration as words of a command line, once it has been parsed: what another
    `Options({})` makes the same of. They may hold secrets."""

    settings: dict[str, list[Setting]]
    """What is given, by the names of the options; paths are absolute."""

    warnings: list[str]
    """What is not as it should be with the file, but works."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """`environ` stands for `os.environ`."""
        super().__init__()
        self._environ = os.environ if environ is None else environ
        self._folder = ""  # what paths are relative to that are not in a file
        self._given: list[Setting] = []  # on the command line
        self._parsing = False

    @property
    def known(self) -> Known:
        """All options that may stand in a file."""
        return Known(self, self.compData)

    def files(self) -> list[str]:
        """The file that was read, if there was one."""
        return [self["config"]] if self["config"] is not None else []

    def checks(self) -> Iterable[Callable[[], None]]:
        """What looks whether all settings go together. Each raises `usage.UsageError`."""
        return ()

    def read(self, arguments: Sequence[str]) -> None:
        """Parse `arguments`, and what they and the environment name. Raises `usage.UsageError`;
        `Misconfigured`, if it is about anything but `arguments`."""
        self._folder = _working_folder()
        self._given = self._command_line(arguments)
        self._take()

    def again(self, environ: Mapping[str, str]) -> Any:
        """What the same command line means now: its file is read anew, and `environ` stands for
        the environment.

        Raises `usage.UsageError`.
        """
        made = type(self)(environ)
        made.parent = self.parent
        made._folder = self._folder
        made._given = [made._absolute(setting) for setting in self._given]
        made._take()
        return made

    def problem(self, text: str, *names: str) -> Problem:
        """A problem with one of the options `names`, told with where that stands: the one whose
        value is in `text`, or else the last that is given."""
        given = [one for name in names for one in self.settings.get(name, [])]
        meant = [one for one in given if isinstance(one.value, str) and one.value in text]
        return self._problem(text, next(iter(meant or given[-1:]), None))

    def postOptions(self) -> None:
        """Is called for each setting; see `checks`."""

    def _command_line(self, arguments: Sequence[str]) -> list[Setting]:
        try:
            given, rest = getopt.getopt(list(arguments), self.shortOpt, self.longOpt)
        except getopt.GetoptError as error:
            raise usage.UsageError(str(error)) from None
        if rest:
            super().parseOptions(["--", *rest])  # which complains
        found = []
        for option, value in given:
            name = self.synonyms[option.lstrip("-")]
            takes_value = f"{name}=" in self.longOpt
            if name in COMMANDS - {"config"}:
                super().parseOptions([f"--{name}={value}" if takes_value else f"--{name}"])
            found.append(Setting(name, value if takes_value else True))
        return found

    def _take(self) -> None:
        sources: list[list[Setting]] = []
        problems: list[Problem] = []
        self.warnings = []
        given = [one for one in self._given if one.name != "config"]
        config = self._config()
        known = self.known
        sources.append([*read_manager(self._environ, known)])
        if config is not None:
            self["config"] = config
            file = read_file(config, known)
            folder = os.path.dirname(config)
            where = self._paths()
            sources.append(
                [
                    one._replace(value=rebased(one.name, one.value, where, folder))
                    for one in file.settings
                ]
            )
            problems += file.problems
            self.warnings += file.warnings
        found = [*read_environment(self._environ, known)]
        sources.append([one for one in found if isinstance(one, Setting)])
        problems += [one for one in found if isinstance(one, Problem)]
        self._parse(merge(*sources, given), problems)

    def _config(self) -> str | None:
        """The path of the file, if there is one."""
        path = self._environ.get("TCPDL_CONFIG") or None
        for setting in self._given:
            if setting.name == "config":
                path = str(setting.value)
        return None if path is None else os.path.normpath(os.path.join(self._folder, path))

    def _parse(self, settings: dict[str, list[Setting]], problems: list[Problem]) -> None:
        for setting in (one for several in settings.values() for one in several):
            try:
                for word in setting.words():
                    super().parseOptions([word])
            except usage.UsageError as error:
                problems.append(self._problem(str(error), setting))
        if not settings.keys() & {"root", "mount"} and self._folder != _working_folder():
            self["root"] = self._folder
        if not problems:  # what is missing because of one would be taken for another
            for check in self.checks():
                try:
                    check()
                except usage.UsageError as error:
                    problems.append(self._problem(str(error), self._meant(str(error), settings)))
        if problems:
            raise Misconfigured(problems)
        self.settings = {
            name: [self._absolute(one) for one in several] for name, several in settings.items()
        }
        held = [one for each in self.settings.values() for one in each]
        self.words = [word for setting in held for word in setting.words()]
        if "root" not in self.settings and self["root"]:
            self.words.append(f"--root={rebase(self['root'], whole, self._folder)}")

    def _absolute(self, setting: Setting) -> Setting:
        value = rebased(setting.name, setting.value, self._paths(), self._folder)
        return setting._replace(value=value)

    def _paths(self) -> dict[str, Find]:
        return {**finders(self.compData), **self.paths}

    def _meant(self, text: str, settings: dict[str, list[Setting]]) -> Setting | None:
        """The setting that `text` is about."""
        for name in _NAMED.findall(text):
            given = settings.get(name, [])
            for setting in given:
                head = _HEAD.split(str(setting.value))[0]
                if str(setting.value) in text or text.startswith(f"--{name} {head}:"):
                    return setting
            if given:
                return given[0]
        return None

    def _problem(self, text: str, setting: Setting | None) -> Problem:
        """What is said of `setting`, in the words of where it stands."""
        origin = COMMAND_LINE if setting is None else setting.origin
        if setting is None or origin == COMMAND_LINE:
            return Problem(origin, text)
        if f"--{setting.name}" not in text:
            text = f"{setting.name}: {text}"
        names = self.known.kinds
        text = _NAMED.sub(lambda found: found[1] if found[1] in names else found[0], text)
        if origin.source.startswith("$"):
            text = text.removeprefix(f"{setting.name}: ")
        return Problem(origin, text)


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""  # it was removed
