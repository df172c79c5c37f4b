"""The daemon's options as Twisted knows them. Imports Twisted, `tcpdl.options` and `model`."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]

from tcpdl.checking import DEFAULT, CheckOptions
from tcpdl.cli import COMMANDS
from tcpdl.manual.model import Argument, Command, Completes, Group, Setting, Settings
from tcpdl.options import reloads
from tcpdl.options.daemon import Options
from tcpdl.options.environment import variable
from tcpdl.options.told import groups_of, options_of


def serve() -> Command:
    """`tcpdl serve`, whose options are those of `twistd tcpdl`."""
    folder = Argument("DIR", "the folder to serve", Completes.FOLDERS, optional=True)
    options = Options({})
    return Command(
        "tcpdl serve",
        COMMANDS["serve"],
        (str(getattr(options, "longdesc", "")),),
        (folder,),
        tuple(groups_of(options)),
    )


def check_config() -> Command:
    """`tcpdl check-config`, which takes those options, too."""
    file = Argument("FILE", f"the settings, {DEFAULT} if left out", Completes.FILES, optional=True)
    known = options_of(CheckOptions({}))
    return Command(
        "tcpdl check-config",
        COMMANDS["check-config"],
        (CheckOptions.longdesc, "All options of tcpdl serve may be given as well."),
        (file,),
        (Group("", (known["print"],)),),
    )


def settings() -> Iterator[Settings]:
    """The options that may stand in a file, by subject."""
    kinds = Options({}).known.kinds
    for group in serve().groups:
        found = tuple(
            Setting(
                option, kinds[option.name].value, variable(option.name), reloads.told(option.name)
            )
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
