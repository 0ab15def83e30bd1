import importlib.metadata
import subprocess
import sys

import pytest

from lina.cli.plugin_states import states
from lina.core.errors import PluginError
from lina.core.registry import MadeWith, Record, find, load, records
from tests.fakes import FakeDistributions

CODEC = """
    from lina.core.plugin import CodecPlugin, PluginConfig
    class Good(CodecPlugin):
        @classmethod
        def example(cls): return {}
        @classmethod
        def build(cls, *, config): return None
    class Unfinished(CodecPlugin):
        @classmethod
        def example(cls): return {}
    class OtherApi(Good):
        plugin_api = 99
    class LooseConfig(Good):
        Config = dict
    good = Good()
    def function(): pass
"""


def refusal(role: str, name: str) -> str:
    with pytest.raises(PluginError) as caught:
        load(role, name)  # type: ignore[call-overload]
    message = str(caught.value)
    assert "\n" not in message
    return message


def state_of(full_name: str) -> tuple[str, str]:
    return next((one.state, one.reason) for one in states() if one.record.full_name == full_name)


def test_a_plugin_is_listed_without_import_and_loaded_when_named(distributions: FakeDistributions) -> None:
    distributions.install("fake-pack", {"lina.codecs": {"fake": "fake_mod:Good"}}, "2.5", fake_mod=CODEC)
    assert Record("codec", "fake", "fake-pack", "2.5", "fake_mod:Good") in records()
    assert "fake_mod" not in sys.modules
    assert load("codec", "fake").__name__ == "Good"
    assert state_of("codec:fake") == ("ok", "")


def test_records_are_sorted_and_may_be_of_one_role(distributions: FakeDistributions) -> None:
    distributions.install("zed", {"lina.codecs": {"zz": "m:A", "aa": "m:A"}, "lina.hooks": {"h": "m:A"}})
    assert records() == sorted(records())
    assert {record.role for record in records("codec")} == {"codec"}
    assert "hook:h" in {record.full_name for record in records()}


def test_the_built_ins_enter_by_the_same_door() -> None:
    declared = {entry.name for entry in importlib.metadata.entry_points(group="lina.backbones")}
    assert declared == {record.name for record in records("backbone")}
    assert "gla" in declared


@pytest.mark.parametrize("name", ["os.system", "fake_mod:Good", "../gla", "", "lina.backbones.gla:GLA", "\n"])
def test_an_invalid_name_is_an_unknown_name(name: str) -> None:
    message = refusal("backbone", name)
    assert message.startswith(f"no backbone named {name!r} is installed")
    assert "known: " in message
    assert "gla" in message


def test_an_unknown_name_gets_a_hint(distributions: FakeDistributions) -> None:
    distributions.install("pack", {"lina.codecs": {"shimmer": "m:A"}})
    assert "did you mean 'shimmer'?" in refusal("codec", "shimer")
    assert "(codec:shimmer is something else)" in refusal("backbone", "shimmer")


def test_a_duplicate_name_is_an_error_only_when_it_is_loaded(distributions: FakeDistributions) -> None:
    distributions.install(
        "pack-one", {"lina.codecs": {"twin": "one_mod:Good", "single": "one_mod:Good"}}, one_mod=CODEC
    )
    distributions.install("pack-two", {"lina.codecs": {"twin": "two_mod:Good"}}, "3.1", two_mod=CODEC)
    message = refusal("codec", "twin")
    assert "pack-one 1.0" in message
    assert "pack-two 3.1" in message
    assert load("codec", "single").__name__ == "Good"
    twins = [one for one in states() if one.record.name == "twin"]
    assert [one.state for one in twins] == ["ok", "ok"]
    assert twins[0].reason == "also offered by pack-two 3.1; write pack-one:twin for this one"
    assert "write pack-one:twin or pack-two:twin instead of twin" in message
    assert "LINA_PLUGINS" in message
    assert find("codec", "pack-one:twin").value == "one_mod:Good"
    assert find("codec", "Pack_Two:twin").version == "3.1"


def test_what_a_run_was_made_with_is_taken(distributions: FakeDistributions) -> None:
    distributions.install("pack-one", {"lina.codecs": {"twin": "one_mod:Good"}}, one_mod=CODEC)
    distributions.install("pack-two", {"lina.codecs": {"twin": "two_mod:Good"}}, "3.1", two_mod=CODEC)
    assert find("codec", "twin", MadeWith("pack-two", "3.0")).version == "3.1"
    with pytest.raises(
        PluginError, match=r"made with codec:twin of pack-six 0.2.0.*pip install pack-six==0.2.0"
    ):
        find("codec", "twin", MadeWith("pack-six", "0.2.0"))
    with pytest.raises(
        PluginError, match=r"no codec named 'gone' .* lina-gone 1.5: pip install lina-gone==1.5"
    ):
        find("codec", "gone", MadeWith("lina-gone", "1.5"))


def test_the_allow_list_applies_before_collisions_are_counted(
    distributions: FakeDistributions, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributions.install("pack-one", {"lina.backbones": {"gla": "one_mod:Good"}}, one_mod=CODEC)
    monkeypatch.setenv("LINA_PLUGINS", "lina")
    assert find("backbone", "gla").distribution == "lina"
    monkeypatch.setenv("LINA_PLUGINS", "pack-one:gla")
    assert find("backbone", "gla").distribution == "pack-one"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import os; os._exit(3)", "its import ended the process with exit code 3"),
        ("import os; os.abort()", "its import ended the process by SIGABRT"),
        ("import ctypes; ctypes.string_at(0)", "its import ended the process by SIGSEGV"),
        ("raise KeyboardInterrupt", "its import raised KeyboardInterrupt"),
    ],
)
def test_an_import_that_ends_its_process_is_listed(
    distributions: FakeDistributions, source: str, reason: str
) -> None:
    distributions.install("deadly", {"lina.codecs": {"fake": "deadly_mod:Fake"}}, deadly_mod=source)
    state, found = state_of("codec:fake")
    assert (state, found) == ("broken", f"{reason}; report this to the authors of deadly")


def test_a_second_copy_of_a_distribution_is_shadowed_not_a_twin(distributions: FakeDistributions) -> None:
    distributions.install("pack", {"lina.codecs": {"fake": "fake_mod:Good"}}, "1.0", fake_mod=CODEC)
    distributions.install("Pack", {"lina.codecs": {"fake": "newer_mod:Good"}}, "2.0", newer_mod=CODEC)
    assert find("codec", "fake").version == "2.0"


@pytest.mark.parametrize(
    ("source", "cause", "remedy"),
    [
        ("import nowhere_at_all", "No module named 'nowhere_at_all'", "install the package that provides"),
        (
            "raise ImportError('libfoo.so\\nis missing')",
            "ImportError: libfoo.so is missing",
            "reinstall or upgrade",
        ),
        ("raise SystemExit(3)", "SystemExit: 3", "reinstall or upgrade broken-pack"),
        ("1 / 0", "ZeroDivisionError: division by zero", "reinstall or upgrade"),
        ("x = (", "SyntaxError", "reinstall or upgrade"),
        ("Fake = None", "is None, but a codec plugin is a class", "lina.core.CodecPlugin"),
        ("other = 1", "AttributeError", "reinstall or upgrade"),
    ],
)
def test_a_failing_import_is_contained_and_explained(
    distributions: FakeDistributions, source: str, cause: str, remedy: str
) -> None:
    distributions.install(
        "broken-pack", {"lina.codecs": {"fake": "broken_mod:Fake"}}, "0.3", broken_mod=source
    )
    message = refusal("codec", "fake")
    assert "codec:fake (broken-pack 0.3, broken_mod:Fake)" in message
    assert cause in message
    assert remedy in message
    state, reason = state_of("codec:fake")
    assert state == "broken"
    assert cause in reason


def test_a_person_may_still_interrupt_a_slow_import(distributions: FakeDistributions) -> None:
    distributions.install(
        "slow", {"lina.codecs": {"fake": "slow_mod:Fake"}}, slow_mod="raise KeyboardInterrupt"
    )
    with pytest.raises(KeyboardInterrupt):
        load("codec", "fake")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("fake_mod:good", "derives from lina.core.CodecPlugin"),
        ("fake_mod:function", "derives from lina.core.CodecPlugin"),
        ("fake_mod", "derives from lina.core.CodecPlugin"),
        ("fake_mod:OtherApi", "written for plugin_api 99, but this lina has plugin_api 1"),
        ("fake_mod:Unfinished", "lacks build"),
        ("fake_mod:LooseConfig", "must derive from lina.core.PluginConfig"),
        ("fake_mod:Missing", "AttributeError"),
        ("not a value", "cannot be loaded: its entry point is not module:name"),
    ],
)
def test_a_plugin_that_violates_its_contract_is_refused(
    distributions: FakeDistributions, value: str, expected: str
) -> None:
    distributions.install("pack", {"lina.codecs": {"fake": value}}, fake_mod=CODEC)
    assert expected in refusal("codec", "fake")


def test_a_class_of_another_role_is_refused(distributions: FakeDistributions) -> None:
    distributions.install("pack", {"lina.backbones": {"fake": "fake_mod:Good"}}, fake_mod=CODEC)
    assert "derives from lina.core.BackbonePlugin" in refusal("backbone", "fake")


def test_damaged_metadata_hides_no_other_plugin(distributions: FakeDistributions) -> None:
    site = distributions.install("pack", {"lina.codecs": {"fake": "fake_mod:Good"}}, fake_mod=CODEC)
    for number, text in enumerate(["[lina.codecs\nx", "[lina.codecs]\nnoequals\n", "\0lina."]):
        damaged = site / f"damaged{number}-1.0.dist-info"
        damaged.mkdir()
        (damaged / "entry_points.txt").write_text(text)
    assert load("codec", "fake").__name__ == "Good"


@pytest.mark.parametrize("allowed", ["codec:fake", "other, pack"])
def test_an_allow_list_excludes_others(
    distributions: FakeDistributions, monkeypatch: pytest.MonkeyPatch, allowed: str
) -> None:
    distributions.install("pack", {"lina.codecs": {"fake": "fake_mod:Good"}}, fake_mod=CODEC)
    distributions.install("nope", {"lina.codecs": {"shut": "shut_mod:Good"}}, shut_mod=CODEC)
    monkeypatch.setenv("LINA_PLUGINS", allowed)
    assert load("codec", "fake").__name__ == "Good"
    assert "left out by LINA_PLUGINS; add codec:shut to it" in refusal("codec", "shut")
    assert state_of("codec:shut") == ("blocked", "left out by LINA_PLUGINS")
    assert "shut_mod" not in sys.modules


def test_listing_imports_neither_plugins_nor_torch() -> None:
    code = (
        "import sys; from lina.core.registry import records; assert records(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
