from pathlib import Path

import pytest

from lina.config.loader import load_spec
from lina.config.resolve import ResolvedSpec, resolve
from lina.core.errors import PluginError, SpecError
from lina.core.registry import Record
from tests.fakes import FakeDistributions

PLUGINS = """
    from pathlib import Path
    from lina.core.plugin import BackbonePlugin, CodecPlugin, CorpusPlugin, PluginConfig, TokenizerPlugin

    class Shared:
        @classmethod
        def example(cls): return {}
        @classmethod
        def build(cls, **arguments): return arguments

    class Backbone(Shared, BackbonePlugin):
        class Config(PluginConfig):
            n_heads: int = 2

    class Codec(Shared, CodecPlugin):
        class Config(PluginConfig):
            weights: Path | None = None
            spare: Path = Path("spare")
            more: tuple[Path, ...] = ()

    class Tokenizer(Shared, TokenizerPlugin): pass

    class Corpus(CorpusPlugin):
        class Config(PluginConfig):
            root: Path
        @classmethod
        def example(cls): return {}
        @classmethod
        def read(cls, *, config): yield from ()
"""
SPEC = """\
lina: 1
name: small
backbone: {plugin: fake, config: {n_heads: 4}}
codec: {plugin: fake}
tokenizer: {plugin: fake}
data:
  source: fake
  config: {root: clips}
"""


@pytest.fixture
def spec_path(tmp_path: Path, distributions: FakeDistributions) -> Path:
    groups = {"backbones": "Backbone", "codecs": "Codec", "tokenizers": "Tokenizer", "corpora": "Corpus"}
    declared = {f"lina.{group}": {"fake": f"fake_plugins:{name}"} for group, name in groups.items()}
    distributions.install("fake-pack", declared, "1.5", fake_plugins=PLUGINS)
    path = tmp_path / "specs" / "small.yaml"
    path.parent.mkdir()
    path.write_text(SPEC)
    return path


def resolved(path: Path, *overrides: str) -> ResolvedSpec:
    return resolve(load_spec(path, overrides))


def test_names_become_plugins_with_checked_configurations(spec_path: Path) -> None:
    found = resolved(spec_path)
    assert found.backbone.config.model_dump() == {"n_heads": 4}
    assert found.codec.plugin.__name__ == "Codec"
    assert found.records[0] == Record("backbone", "fake", "fake-pack", "1.5", "fake_plugins:Backbone")
    assert [record.role for record in found.records] == ["backbone", "codec", "tokenizer", "corpus"]


def test_a_path_is_relative_to_the_file_that_wrote_it(
    spec_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "shared" / "codec.yaml"
    other.parent.mkdir()
    other.write_text("codec: {config: {weights: w.bin, more: [a, /b]}}")
    spec_path.write_text(f"include: ../shared/codec.yaml\n{SPEC}")
    monkeypatch.chdir(tmp_path)
    assert resolved(spec_path).corpus.config.model_dump() == {"root": tmp_path / "specs" / "clips"}
    codec = resolved(spec_path).codec.config.model_dump()
    there = tmp_path / "shared"
    assert codec == {"weights": there / "w.bin", "spare": Path("spare"), "more": (there / "a", Path("/b"))}
    typed = resolved(spec_path, "data.config.root=here").corpus.config.model_dump()
    assert typed == {"root": tmp_path / "here"}


def test_the_resolved_spec_means_the_same_in_another_folder(spec_path: Path, tmp_path: Path) -> None:
    first = resolved(spec_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spec.yaml").write_text(first.spec.to_yaml())
    again = resolved(tmp_path / "run" / "spec.yaml")
    assert again.corpus.config == first.corpus.config
    assert again.spec == first.spec


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "n_heads",
            "n_head",
            ":3: backbone.config.n_head: unknown key; did you mean 'n_heads'? (known: n_heads)",
        ),
        ("n_heads: 4", "n_heads: four", ':3: backbone.config.n_heads: expected a whole number, found "four"'),
        ("root: clips", "", ":8: data.config.root: is missing; add it"),
        ("root: clips", "root: 5", ":8: data.config.root: expected a text, found 5"),
        (
            "tokenizer: {plugin: fake",
            "tokenizer: {plugin: fake, config: {_target_: x}",
            "_target_: unknown key",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_its_plugin(
    spec_path: Path, old: str, new: str, expected: str
) -> None:
    spec_path.write_text(SPEC.replace(old, new))
    with pytest.raises(SpecError) as caught:
        resolved(spec_path)
    assert expected in str(caught.value)


@pytest.mark.parametrize("name", ["os.system", "fake_plugins:Codec", "faek"])
def test_an_unknown_plugin_is_reported_where_it_is_named(spec_path: Path, name: str) -> None:
    spec_path.write_text(SPEC.replace("codec: {plugin: fake}", f'codec: {{plugin: "{name}"}}'))
    with pytest.raises(PluginError) as caught:
        resolved(spec_path)
    assert str(caught.value).startswith(f"{spec_path}:4: codec.plugin: no codec named {name!r} is installed")


def test_a_plugin_that_is_not_named_may_be_broken(spec_path: Path, distributions: FakeDistributions) -> None:
    distributions.install("bad", {"lina.codecs": {"bad": "bad_mod:Bad"}}, bad_mod="raise SystemExit(1)")
    assert resolved(spec_path).codec.record.name == "fake"
    with pytest.raises(
        PluginError, match=r"command line: codec\.plugin: codec:bad \(bad 1\.0.*SystemExit: 1"
    ):
        resolved(spec_path, "codec.plugin=bad")


def test_a_place_is_spelt_the_same_however_the_spec_is_named(
    spec_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(spec_path.parent)
    roundabout = Path("..") / "specs" / "small.yaml"
    assert resolved(roundabout).spec == resolved(Path("small.yaml")).spec == resolved(spec_path).spec
