"""The configuration is read again while the daemon runs, on SIGHUP.

Imports `daemon`, `options` and `server`. Either all of it is sound, and what has changed is taken
up as far as that works without a restart, or nothing is changed; the log says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from twisted.logger import Logger
from twisted.python import usage

from tcpdl.daemon import Daemon
from tcpdl.options.daemon import Options
from tcpdl.options.settings import Misconfigured
from tcpdl.options.showing import shown
from tcpdl.server.certificate import BadCertificate
from tcpdl.server.changes import Change
from tcpdl.wire.text import visible

_log = Logger()


def announce(options: Options) -> None:
    """Tell the log which file is used, and what is not as it should be with it."""
    for path in options.files():
        _log.info("the configuration is that of {file}", file=visible(path))
    _warn(options)


def _warn(options: Options) -> None:
    for warning in options.warnings:
        _log.warn("{warning}", warning=visible(warning))


class Reloading:
    """Reads again what `options` were read from."""

    def __init__(self, daemon: Daemon, options: Options, environ: Mapping[str, str]) -> None:
        """Does so from now on, if there is a file. Whatever is read, `environ` is looked at as it
        is then."""
        self._daemon = daemon
        self._options = options
        self._environ = environ
        self._running = {
            name: (effective(options, name), shown(options, name)) for name in options.known.kinds
        }
        if options.files():
            daemon.hangups.add(self.reload, first=True)

    @property
    def _file(self) -> str:
        return ", ".join(visible(path) for path in self._options.files())

    def reload(self) -> None:
        """Read it again."""
        try:
            options = self._options.again(self._environ)
            options.credentials()
        except (usage.UsageError, BadCertificate) as error:
            refuse(error)
            return
        _warn(options)
        changed = [*self._changes(options)]
        _log.info(
            "{file} has been read again: {what}",
            file=self._file,
            what="this has changed:" if changed else "nothing has changed",
        )
        for outcome in self._daemon.changes.apply(changed, options):
            (_log.info if outcome.applied else _log.warn)("{outcome}", outcome=outcome)
            if outcome.applied:
                name = outcome.change.name
                self._running[name] = effective(options, name), outcome.change.after
        self._options = options

    def _changes(self, options: Options) -> Iterator[Change]:
        """How `options` differ from what the daemon runs with, in their order."""
        for name, (value, said) in self._running.items():
            if effective(options, name) != value:
                yield Change(name, said, shown(options, name))


def refuse(error: Exception) -> None:
    """Tell the log what is wrong with the configuration, or with a file that is named there, and
    that what was read before still holds."""
    problems = error.problems if isinstance(error, Misconfigured) else [error]
    for problem in problems:
        _log.error("{problem}", problem=visible(str(problem)))
    _log.error("the configuration stays what it was; mend this, and reload it again")


def changes(before: Options, after: Options) -> Iterator[Change]:
    """How `after` differs from `before`, in the order of the options."""
    for name in before.known.kinds:
        if effective(before, name) != effective(after, name):
            yield Change(name, shown(before, name), shown(after, name))


def effective(options: Options, name: str) -> list[str]:
    """What the option is set to; a default that is given is as good as none."""
    values = [str(setting.value) for setting in options.settings.get(name, [])]
    default = options.defaults.get(name)
    return [] if values in ([str(default)], ["False"]) else values
