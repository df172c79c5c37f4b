"""Tests `options.configured`: file, environment and command line are one configuration."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.python import usage

from tcpdl.options.daemon import Options
from tcpdl.options.environment import variable
from tcpdl.options.known import COMMANDS, Kind
from tcpdl.options.settings import Misconfigured
from tcpdl.serve import ServeOptions

SAMPLES: dict[str, Any] = {
    "auth": "memory:ann:secret",
    "echo-reply": "hello",
    "http-host": "files.example",
    "interface": "127.0.0.1",
    "listen": "tcp:81",
    "mount-symlinks": "a=never",
    "name-encodings": "gbk",
    "proxy-from": "127.0.0.1",
    "root": ".",
    "symlinks": "never",
    "tls": "self-signed",
}
"""Values for those that take not everything; others take one of these."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test runs in a folder that has another one, `conf`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    return tmp_path


def options(*arguments: str, file: str | None = None, **environ: str) -> Options:
    made = Options(environ)
    if file is not None:
        Path("conf/f").write_text(file)
        arguments = ("--config=conf/f", *arguments)
    made.parseOptions(arguments)
    return made


def problems(*arguments: str, file: str | None = None, **environ: str) -> list[str]:
    with pytest.raises(Misconfigured) as raised:
        options(*arguments, file=file, **environ)
    assert "\n" not in str(raised.value)
    return [str(one) for one in raised.value.problems]


class Unchecked(Options):
    """What stands there, whether it goes together or not."""

    def checks(self) -> tuple[()]:
        return ()


def test_each_option_may_stand_in_each_place(folder: Path) -> None:
    """Those of tomorrow, too: all that `usage.Options` knows of."""
    known = Options({}).known.kinds
    longs = {long.rstrip("=") for long in Options({}).longOpt}
    assert longs - set(known) == COMMANDS - {"print"}
    for name, kind in known.items():
        values = [SAMPLES[name]] if name in SAMPLES else ["5", "50000", "a=b", "unix:/a", "a"]
        for value in values:
            word = f"--{name}" if kind is Kind.FLAG else f"--{name}={value}"
            given = Unchecked({})
            with suppress(usage.UsageError):
                given.parseOptions([word])
            if not hasattr(given, "words"):
                assert value != values[-1], f"what does --{name} take?"
                continue
            from_environment = Unchecked({variable(name): "1" if kind is Kind.FLAG else value})
            from_environment.parseOptions([])
            said = "true" if kind is Kind.FLAG else f"'{value}'"
            (folder / "f").write_text(f"{name} = {said}\n")
            from_file = Unchecked({})
            from_file.parseOptions(["--config=f"])
            assert given.words == from_environment.words == from_file.words
            assert list(given.settings) == [name]
            break


def test_what_overrides_what() -> None:
    file = "port = 1\nmax-accepts = 1\nmax-files = 1\nlisten = ['tcp:1', 'tcp:2']\nhidden = true"
    made = options("--port=3", file=file, TCPDL_PORT="2", TCPDL_MAX_ACCEPTS="2")
    assert (made["port"], made["max-accepts"], made["max-files"]) == (3, 2, 1)
    assert made["listen"] == ["tcp:1", "tcp:2"]
    assert made["hidden"]
    made = options("-l", "tcp:3", file=file, TCPDL_HIDDEN="0", TCPDL_LISTEN="tcp:4 tcp:5")
    assert made["listen"] == ["tcp:3"], "a list is replaced as a whole"
    assert not made["hidden"]
    assert "--hidden" not in made.words
    assert options(file=file, TCPDL_LISTEN="tcp:4 tcp:5")["listen"] == ["tcp:4", "tcp:5"]


def test_where_the_file_is_named(folder: Path) -> None:
    (folder / "g").write_text("port = 7")
    assert options(TCPDL_CONFIG="g")["port"] == 7
    assert options(TCPDL_CONFIG="g", file="port = 8")["port"] == 8
    assert options(TCPDL_CONFIG="").files() == []
    assert options(TCPDL_CONFIG="g").files() == [str(folder / "g")]
    assert problems("--config=none") == [f"{folder}/none: there is no such file"]


def test_paths_in_a_file_are_relative_to_its_folder(folder: Path) -> None:
    (folder / "conf/sub").mkdir()
    Path("conf/rules").write_text("/** anyone read\n")
    Path("conf/users").write_text("")
    file = """
        root = "sub"
        rules = "rules"
        state-dir = "../state"
        auth = ["users:users", "memory:ann:secret"]
        listen = ["unix:a.sock:mode=600", "tcp:1", "unix:/run/b.sock"]
    """
    made = options(file=file)
    assert made["root"] == f"{folder}/conf/sub"
    assert made["rules"].path == f"{folder}/conf/rules"
    assert made["state-dir"] == f"{folder}/conf/../state"
    assert made["listen"] == [f"unix:{folder}/conf/a.sock:mode=600", "tcp:1", "unix:/run/b.sock"]
    assert f"--auth=users:{folder}/conf/users" in made.words
    assert "--auth=memory:ann:secret" in made.words


def test_other_paths_are_relative_to_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "root").mkdir()
    made = options("--root=root", TCPDL_STATE_DIR="state")
    assert (made["root"], made["state-dir"]) == ("root", "state")
    assert sorted(made.words) == [f"--root={folder}/root", f"--state-dir={folder}/state"]
    assert options().words == [f"--root={folder}"]
    # What twistd does with --rundir.
    monkeypatch.chdir("/")
    again = made.again({"TCPDL_STATE_DIR": "state"})
    assert again["root"] == f"{folder}/root"
    assert sorted(again.words) == sorted(made.words)


def test_the_state_folder_of_systemd_counts_least(folder: Path) -> None:
    given = {"STATE_DIRECTORY": "/var/lib/tcpdl"}
    made = options(**given)
    assert (made["state-dir"], "--state-dir=/var/lib/tcpdl" in made.words) == (
        "/var/lib/tcpdl",
        True,
    )
    assert str(made.settings["state-dir"][0].origin) == "$STATE_DIRECTORY"
    file = "state-dir = 'of-file'"
    assert options(file=file, **given)["state-dir"] == f"{folder}/conf/of-file"
    assert options(file=file, TCPDL_STATE_DIR="own", **given)["state-dir"] == "own"
    assert options("--state-dir=own", **given)["state-dir"] == "own"


def test_each_file_that_is_completed_is_a_path() -> None:
    where = Options({})._paths()
    for name, find in where.items():
        assert find(
            "unix:a" if name in ("listen", "admin") else "users:a" if name == "auth" else "a=a"
        )[1]
    assert {"root", "state-dir", "rules", "link-key", "tls-cert", "tls-key"} <= where.keys()


def test_words_mean_the_same_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "conf/sub").mkdir()
    file = "root = 'sub'\nlisten = ['tcp:1', 'unix:x y']\nhidden = true\nmax-rate = '1M'"
    made = options("--port=3", file=file, TCPDL_ECHO_PORT="9", TCPDL_ECHO_REPLY="--a b=c")
    monkeypatch.chdir("/")
    other = Options({})
    other.parseOptions(made.words)
    assert {**other, "config": None} == {**made, "config": None}
    assert other.words == made.words


def test_the_folder_of_tcpdl_serve_overrides_the_file(folder: Path) -> None:
    (folder / "f").write_text("root = 'conf'\nport = 5")
    made = ServeOptions({})
    made.parseOptions(["--config=f"])
    assert made["root"] == f"{folder}/conf"
    made = ServeOptions({})
    made.parseOptions(["/", "--config", "f"])
    assert (made["root"], made["port"]) == ("/", 5)


@pytest.mark.parametrize(
    ("file", "environ", "problem"),
    [
        ("\nport = 99999", {}, "F, line 2: port: '99999' is not a port number from 0 to 65535"),
        ("\nport = -5", {}, "F, line 2: port: '-5' is not a port number"),
        ("", {"TCPDL_PORT": "x"}, "$TCPDL_PORT: 'x' is not a port number"),
        ("\n\nroot = 'none'", {}, "F, line 3: root: 'D/conf/none' does not exist"),
        ("", {"TCPDL_ROOT": "none"}, "$TCPDL_ROOT: 'none' does not exist"),
        (
            "root = '~/a'",
            {},
            "F, line 1: root: 'D/conf/~/a' does not exist; ~ and $ stand for noth",
        ),
        (
            "proxy-from = 'all'",
            {},
            "F, line 1: proxy-from: 'all' is no address, no network such as",
        ),
        (
            "proxy-from = '10.0.0.1/8'",
            {},
            "F, line 1: proxy-from: '10.0.0.1/8' is an address within a network; write 10.0.0.0/8",
        ),
        ("tls-key='f'", {}, "F, line 1: tls-key needs tls-cert"),
        (
            "tls-required=true",
            {},
            "F, line 1: tls-required needs a certificate: give tls-cert, or ",
        ),
        ("listen=[\n'tcp:1',\n'tls:2']", {}, "F, line 3: listen tls:2 needs a certificate"),
        ("auth=['users:u',\n'x:y']", {}, "F, line 2: auth: there is no type 'x'; --help-auth list"),
        ("rules = 'f'\nport = 1", {}, "F, line 1: rules: D/conf/f: line 1: "),
        ("max-files = 1.5", {}, "F, line 1: max-files: '1.5' is not a whole number"),
        ("name-encodings = 'x'", {}, "F, line 1: name-encodings: "),
    ],
    ids=range(15),
)
def test_what_is_wrong_is_told_with_where_it_stands(
    file: str, environ: dict[str, str], problem: str, folder: Path
) -> None:
    found = problems(file=file, **environ)
    expected = problem.replace("F,", f"{folder}/conf/f,").replace("D/", f"{folder}/")
    assert [one[: len(expected)] for one in found if "users" not in one] == [expected]


def test_all_that_is_wrong_is_told(folder: Path) -> None:
    path = f"{folder}/conf/f"
    found = problems(
        "--max-accepts=x", file="port = 'x'\nmax-files = 'x'\nx = 1", TCPDL_MIN_RATE="x"
    )
    assert [one.partition(" ")[0] for one in found] == [
        *("--max-accepts:", "$TCPDL_MIN_RATE:", f"{path},", f"{path},", f"{path},"),
    ]
    with pytest.raises(usage.UsageError, match=r"\(and 1 more; tcpdl check-config tells all\)"):
        options(file="x = 1\ny = 1")


def test_a_problem_of_the_command_line_is_told_as_ever() -> None:
    assert problems("--port=x") == ["--port: 'x' is not a port number from 0 to 65535"]
    with pytest.raises(usage.UsageError, match="option --nonsense not recognized"):
        options("--nonsense")


def test_again(folder: Path) -> None:
    made = options("--port=3", file="max-rate = '1M'", TCPDL_MAX_FILES="5")
    (folder / "conf/f").write_text("max-rate = '2M'\nport = 9")
    again = made.again({"TCPDL_MAX_FILES": "6"})
    assert (again["port"], again["max-rate"], again["max-files"]) == (3, 2_000_000, 6)
    assert made["max-rate"] == 1_000_000
    (folder / "conf/f").write_text("max-rate = 2M")
    with pytest.raises(Misconfigured, match="line 1: not valid TOML"):
        again.again({})
    (folder / "conf/f").unlink()
    with pytest.raises(Misconfigured, match="there is no such file"):
        again.again({})


def test_the_file_is_not_read_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("--help", "--version"):
        with pytest.raises(SystemExit) as left:
            options("--config=none", word)
        assert not left.value.code
    assert "--config" in capsys.readouterr().out


def test_roots(folder: Path) -> None:
    (folder / "conf/a").mkdir()
    Path("conf/r").write_text("/** anyone read\n")
    file = "[roots]\none = 'a'\n[roots.two]\npath = '/'\nhidden = true\nrules = 'r'\n"
    made = options(file=file)
    assert made.words == [
        *(f"--mount=one={folder}/conf/a", "--mount=two=/", "--mount-hidden=two"),
        f"--mount-rules=two={folder}/conf/r",
    ]
    assert options("--mount=three=/", file=file).words == ["--mount=three=/"]
    assert options("--root=/", file=file).words == ["--root=/"]
    assert options("--mount=three=/", file="root = '/'").words == ["--mount=three=/"]
    path = f"{folder}/conf/f"
    missing = f"'{folder}/conf/none' does not exist"
    for number, name, old in ((2, "one", "'a'"), (4, "two", "'/'")):
        wrong = problems(file=file.replace(old, "'none'"))
        assert wrong == [f"{path}, line {number}: mount {name}: {missing}"]
    (wrong_too,) = problems(file=f"root = '/'\n{file}")
    assert wrong_too.startswith(f"{path}, line 3: mount and a root exclude each other")


def test_members_go_with_what_they_are_of() -> None:
    from tcpdl.options.settings import Setting, merge

    file = [Setting("mount", "a=b"), Setting("mount-hidden", "a"), Setting("root", "c")]
    merged = merge(file, [Setting("mount", "d=e")])
    assert list(merged) == ["mount"]
    assert list(merge(file, [Setting("root", "d")])) == ["root"]
    assert list(merge(file, [Setting("port", "1")])) == ["mount", "mount-hidden", "root", "port"]


def test_a_working_folder_that_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "gone").mkdir()
    monkeypatch.chdir("gone")
    os.rmdir(folder / "gone")
    assert options("--root=/").words == ["--root=/"]
