import errno
import importlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from lina import __version__
from lina.cli import app, main
from lina.cli.extra import _extra_commands
from lina.core.errors import LinaError
from tests.cli.conftest import Lina
from tests.fakes import FakeDistributions

BUILT_IN = [[name] for name in ("run", "say", "plugins", "check", "new", "data", "convert", "export")]
BUILT_IN += [["doctor"]]
BUILT_IN += [["data", name] for name in ("list", "get", "inspect")]
BUILT_IN += [["convert", "lina-speech"]]


@pytest.fixture(autouse=True)
def forget_commands() -> None:
    _extra_commands.cache_clear()


@pytest.mark.parametrize("command", [[], *BUILT_IN], ids=lambda command: "-".join(command) or "lina")
def test_help_fits_a_screen_and_shows_an_example(lina: Lina, command: list[str]) -> None:
    done = lina(*command, "--help")
    lines = done.out.splitlines()
    assert done.code == 0
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert any(line.strip().startswith("lina ") for line in lines[lines.index("  Example:") :])


def test_every_command_is_listed_with_a_summary(lina: Lina) -> None:
    listed = lina("--help").out
    for (name,) in BUILT_IN[:8]:
        line = next(line for line in listed.splitlines() if line.startswith(f"  {name} "))
        assert len(line.split()) > 2


def test_help_is_quick_for_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lina.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'torch', 'numpy', 'pydantic', 'omegaconf'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_waiting_threads_sleep_unless_the_environment_says_otherwise() -> None:
    code = (
        "import os; from lina.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(os.environ.get('GOMP_SPINCOUNT'))"
    )
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    for arguments, expected in (({}, "2000"), ({names[0]: "ACTIVE"}, "None"), ({names[1]: "7"}, "7")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment | arguments,
        )
        assert done.stdout.splitlines()[-1] == expected


def test_version(lina: Lina) -> None:
    assert __version__ in lina("--version").out


def test_a_mistyped_command_gets_a_hint(lina: Lina) -> None:
    done = lina("rnu")
    assert done.code == 2
    known = "check, compare, convert, data, doctor, evaluate, export, new, plan, plugins, run, say"
    assert f"no command 'rnu'; did you mean 'run'? (known: {known})" in done.err


@pytest.mark.parametrize(
    "arguments", [["run"], ["say"], ["run", "--what"], ["plugins", "extra"], ["data", "nothing"]]
)
def test_a_wrong_call_is_one_line_that_says_where_help_is(
    refused: Callable[..., str], arguments: list[str]
) -> None:
    assert refused(*arguments).endswith(f"; see: lina {arguments[0]} --help\n")


def test_lina_alone_shows_its_help(lina: Lina) -> None:
    done = lina()
    assert done.code == 2
    assert done.err.startswith("Usage: lina")


def failing(error: BaseException) -> click.Command:
    @click.command("fails")
    def fails() -> None:
        raise error

    return fails


@pytest.fixture
def with_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[click.Command], None]:
    return lambda command: monkeypatch.setattr(app, "extra_commands", lambda taken: {command.name: command})


def test_ctrl_c_exits_with_130(lina: Lina, with_command: Callable[[click.Command], None]) -> None:
    with_command(failing(KeyboardInterrupt()))
    done = lina("fails")
    assert done.code == 130
    assert done.err.strip() == "lina: stopped"


def test_a_mistake_is_one_line_and_code_2(lina: Lina, with_command: Callable[[click.Command], None]) -> None:
    with_command(failing(LinaError("first\nsecond")))
    assert lina("fails").err == "lina: error: first second\n"


def test_an_error_may_carry_its_own_code(lina: Lina, with_command: Callable[[click.Command], None]) -> None:
    class LaterError(LinaError):
        exit_code = 75

    with_command(failing(LaterError("go on later")))
    done = lina("fails")
    assert (done.code, done.err) == (75, "lina: go on later\n")


def test_a_bug_keeps_its_traceback(with_command: Callable[[click.Command], None]) -> None:
    with_command(failing(ZeroDivisionError("bug")))
    with pytest.raises(ZeroDivisionError):
        main(["fails"])


def test_a_plugins_traceback_begins_with_its_name(
    with_command: Callable[[click.Command], None],
    distributions: FakeDistributions,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = distributions.install(
        "lina-mine",
        {"lina.codecs": {"mine": "mine_mod:Mine"}},
        "0.3",
        mine_mod="def fail():\n    return 1 / 0\n",
    )

    @click.command()
    def fails() -> None:
        importlib.import_module("mine_mod").fail()

    with_command(fails)
    with pytest.raises(ZeroDivisionError):
        main(["fails"])
    expected = f"lina: the plugin codec:mine (lina-mine 0.3) failed in {site}/mine_mod.py, line 2; "
    assert capsys.readouterr().err.startswith(expected)


def test_a_bug_of_lina_voice_is_no_plugins(
    with_command: Callable[[click.Command], None],
    distributions: FakeDistributions,
    capsys: pytest.CaptureFixture[str],
) -> None:
    distributions.install("lina-voice", {"lina.tokenizers": {"own": "lina.tokenizers.bytes:Bytes"}})
    with_command(failing(ZeroDivisionError("bug")))
    with pytest.raises(ZeroDivisionError):
        main(["fails"])
    assert capsys.readouterr().err == ""


def test_a_plugin_that_lacks_its_own_package_does_not_ask_for_pytorch(
    with_command: Callable[[click.Command], None],
    distributions: FakeDistributions,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    distributions.install(
        "lina-mine",
        {"lina.tokenizers": {"mine": "mine_mod:Mine"}},
        "0.3",
        mine_mod="def fail(name):\n    __import__(name)\n",
    )

    @click.command()
    @click.argument("name")
    def fails(name: str) -> None:
        importlib.import_module("mine_mod").fail(name)

    with_command(fails)
    monkeypatch.setitem(sys.modules, "torch", None)  # as with lina-voice
    with pytest.raises(ModuleNotFoundError, match="not_there"):
        main(["fails", "not_there"])
    assert capsys.readouterr().err.startswith("lina: the plugin tokenizer:mine (lina-mine 0.3) failed in")
    for name in ("torch", "lina.not_there"):
        with pytest.raises(SystemExit, match="2"):
            main(["fails", name])
        assert capsys.readouterr().err.startswith("lina: error: this call needs PyTorch")


def test_errors_of_the_machine_are_one_line(
    refused: Callable[..., str], with_command: Callable[[click.Command], None]
) -> None:
    with_command(failing(OSError(28, "No space left on device", "a/b")))
    assert refused("fails") == "lina: error: a/b: No space left on device; fix this and try again\n"
    with_command(failing(OSError(36, "File name too long", "x" * 5000)))
    assert len(refused("fails")) < 300


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EFBIG, errno.ESTALE])
def test_a_file_that_is_gone_or_too_large_is_one_line(
    refused: Callable[..., str], with_command: Callable[[click.Command], None], number: int
) -> None:
    with_command(failing(OSError(number, os.strerror(number), "a/b")))
    assert refused("fails") == f"lina: error: a/b: {os.strerror(number)}; fix this and try again\n"


def test_another_error_of_the_system_is_a_bug(with_command: Callable[[click.Command], None]) -> None:
    with_command(failing(OSError(errno.EBADF, os.strerror(errno.EBADF))))
    with pytest.raises(OSError, match="Bad file descriptor"):
        main(["fails"])


def test_information_reaches_the_terminal(lina: Lina, with_command: Callable[[click.Command], None]) -> None:
    @click.command("tells")
    def tells() -> None:
        logging.getLogger("lina").info("fused kernels")
        logging.getLogger("lina").debug("details")

    with_command(tells)
    assert lina("tells").err == "lina: fused kernels\n"


def test_a_file_name_that_is_no_text_can_be_reported(
    lina: Lina, with_command: Callable[[click.Command], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command("tells")
    def tells() -> None:
        click.echo("a\udcff.wav")

    with_command(tells)
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    monkeypatch.setattr("sys.stdout", out)
    assert lina("tells").code == 0
    assert out.buffer.getvalue() == b"a\\udcff.wav\n"


EXTRA = """
    import click
    from lina.runs.hooks import hookimpl
    @click.command("greet", short_help="Say hello.")
    def greet(): click.echo("hello")
    @click.command("run")
    def run(): click.echo("hijacked")
    class Greeter:
        @hookimpl
        def cli_commands(self): return [greet, run, 3]
    class Broken:
        @hookimpl
        def cli_commands(self): raise RuntimeError("no luck")
"""


def test_hook_plugins_add_commands_but_replace_none(lina: Lina, distributions: FakeDistributions) -> None:
    distributions.install(
        "greetings",
        {"lina.hooks": {"greeter": "greet_mod:Greeter", "broken": "greet_mod:Broken"}},
        greet_mod=EXTRA,
    )
    done = lina("--help")
    assert "greet " in done.out
    warnings = done.err.splitlines()
    assert len(warnings) == 3
    assert "hook:broken (greetings 1.0, greet_mod:Broken) failed in cli_commands" in warnings[0]
    assert "offers a second command 'run'" in warnings[1]
    assert "offers 3 as a command" in warnings[2]
    assert lina("greet").out == "hello\n"
    assert "hijacked" not in lina("run", "--help").out


def test_a_broken_hook_plugin_costs_one_line(lina: Lina, distributions: FakeDistributions) -> None:
    distributions.install("bad", {"lina.hooks": {"bad": "bad_hook:Bad"}}, bad_hook="raise SystemExit(9)")
    done = lina("--help")
    assert done.code == 0
    assert done.err.count("\n") == 1
    assert done.err.startswith("lina: warning: left out: hook:bad (bad 1.0, bad_hook:Bad) cannot be loaded")


def test_python_dash_m() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lina", "nothing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no command 'nothing'" in done.stderr
