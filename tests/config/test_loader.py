import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lina.config.loader import load_spec
from lina.config.spec import Spec, differences
from lina.core.errors import SpecError

ROOT = Path(__file__).parents[2]

GOOD = """\
lina: 1
name: first
backbone:
  plugin: gla
  d_model: 64
codec: {plugin: codec2}
tokenizer: {plugin: bytes}
data: {source: folder, config: {root: clips}}
train: {steps: 10, lr: 1e-3}
synthesize: {texts: [hello]}
"""


def write(folder: Path, text: str, name: str = "spec.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_spec_is_read_with_its_numbers_as_numbers(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, GOOD))
    assert (spec.name, spec.train.lr, spec.train.steps, spec.synthesize.texts) == (
        "first",
        1e-3,
        10,
        ("hello",),
    )
    assert spec.train.out == Path("runs/first")


def test_a_written_spec_reads_back_as_the_same_spec(tmp_path: Path) -> None:
    text = GOOD.replace(
        "[hello]", '["naïve: \\"yes\\"", "no", "1e3", "  two\\n  lines\\t", "😀 # not a comment"]'
    )
    spec = load_spec(
        write(tmp_path, text), ["synthesize.temperature=[0.5, 1]", "synthesize.top_k=5", "train.ema=1e-7"]
    )
    again = load_spec(write(tmp_path, spec.to_yaml(), "again.yaml"))
    assert differences(spec, again) == []
    assert again == spec


def test_the_command_line_wins_and_the_last_of_it_most(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    overrides = [
        "train.steps=20",
        "train.steps=30",
        "backbone={plugin: other}",
        "data.valid=0.1",
        "name=second",
    ]
    spec = load_spec(path, overrides)
    assert (spec.train.steps, spec.backbone.plugin, spec.backbone.d_model) == (30, "other", 64)
    assert (spec.data.valid, spec.train.out) == (0.1, Path("runs/second"))


def test_a_section_that_is_null_is_made_and_unmade_by_the_command_line(tmp_path: Path) -> None:
    off = write(tmp_path, GOOD)
    one = load_spec(off, ["synthesize.window.ahead=9"]).synthesize.window
    assert one is not None
    assert (one.ahead, one.back, one.stall) == (9, 6, 1.0)
    on = load_spec(off, ["synthesize.window={}", "synthesize.window.stall=null"])
    assert on.synthesize.window is not None
    assert (on.synthesize.window.ahead, on.synthesize.window.stall) == (16, None)
    again = write(tmp_path, on.to_yaml(), "on.yaml")
    assert load_spec(again) == on
    assert load_spec(again, ["synthesize.window=null"]).synthesize.window is None
    assert load_spec(off).synthesize.window is None


def test_includes_compose_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts", GOOD, "base.yaml")
    write(tmp_path / "parts", "include: base.yaml\ntrain: {steps: 50, warmup: 5}", "long.yaml")
    write(tmp_path, "train: {steps: 60}\nseed: 3", "seed.yaml")
    spec = load_spec(write(tmp_path, "include: [parts/long.yaml, seed.yaml]\nseed: 4"))
    assert (spec.train.steps, spec.train.warmup, spec.train.lr, spec.seed) == (60, 5, 1e-3, 4)


def test_references_name_other_keys_and_keep_their_kind(tmp_path: Path) -> None:
    text = GOOD.replace("steps: 10", 'steps: 10, warmup: "${train.steps}", out: "out/${name}-${seed}"')
    spec = load_spec(write(tmp_path, text), ["seed=7", "evaluate.unseen=${synthesize.texts}"])
    assert (spec.train.warmup, spec.train.out) == (10, Path("out/first-7"))
    assert spec.evaluate.unseen == ("hello",)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "d_model: 64",
            "d_modl: 64",
            ":5: backbone.d_modl: unknown key; did you mean 'd_model'? (known: after, config,",
        ),
        ("train: {", "trian: {", ":9: trian: unknown key; did you mean 'train'?"),
        ("steps: 10", "steps: ten", ':9: train.steps: expected a whole number, found "ten"'),
        ("steps: 10", 'steps: "10"', ':9: train.steps: expected a whole number, found "10"'),
        ("steps: 10", "steps: yes", ":9: train.steps: expected a whole number, found true"),
        ("steps: 10", "steps: 1.5", ":9: train.steps: expected a whole number, found 1.5"),
        ("steps: 10", "steps: -1", ":9: train.steps: expected a number greater than or equal to 1, found -1"),
        ("lr: 1e-3", "lr: .inf", ":9: train.lr: expected a finite number, found Infinity"),
        ("lr: 1e-3", "lr: fast", ':9: train.lr: expected a number, found "fast"'),
        ("lr: 1e-3", "betas: [0.9]", ":9: train.betas.1: is missing"),
        ("lr: 1e-3", "betas: [0.1, 0.2, 0.3]", ":9: train.betas: expected at most 2 values"),
        ("lr: 1e-3", "precision: float64", ":9: train.precision: expected 'auto', 'float32' or 'bfloat16'"),
        ("name: first", "name: ../../etc", ":2: name: expected letters, digits"),
        ("name: first", "name: 5", ":2: name: expected a text, found 5"),
        ("name: first\n", "", ":1: name: is missing; add it"),
        ("  plugin: gla\n", "", ":3: backbone: plugin is missing; add it, or layers"),
        (
            "codec: {plugin: codec2}",
            "codec: codec2",
            ':6: codec: expected a section (keys and values), found "codec2"',
        ),
        (
            "codec: {plugin: codec2}",
            "codec:",
            ":6: codec: expected a section (keys and values), found nothing",
        ),
        ("[hello]", "hello", ':10: synthesize.texts: expected a list, found "hello"'),
        ("[hello]", "[hello, 3]", ":10: synthesize.texts.1: expected a text, found 3"),
        (
            "[hello]",
            "[], temperature: [0.5, hot]",
            ':10: synthesize.temperature.1: expected a number, found "hot"',
        ),
        (
            "[hello]",
            "[], temperature: hot",
            ':10: synthesize.temperature: expected a number or a list, found "hot"',
        ),
        ("lina: 1", "lina: 2", ":1: lina: expected 1, found 2"),
        ("lina: 1", "_target_: os.system", ":1: _target_: unknown key (known: "),
        ("name: first", "nmae: first", ":2: nmae: unknown key; did you mean 'name'?"),
        ("name: first", "nmae: first", "(and 1 more mistake)"),
        ("  plugin: gla\n", "  layers: []\n", ":4: backbone.layers: expected at least 1 value, found []"),
        (
            "  plugin: gla\n",
            "  layers: [{gla: {}, mamba: {}}]\n",
            ':4: backbone.layers.0: expected at most 1 key, found {"gla": {}, "mamba": {}}',
        ),
        ("  plugin: gla\n", "  layers: [{}]\n", ":4: backbone.layers.0: expected at least 1 key, found {}"),
        (
            "  plugin: gla\n",
            '  layers: [""]\n',
            'layers.0: expected a text that is not empty, found ""',
        ),
        ("plugin: gla", "plugin: gla\n  final_norm: rsm", "found \"rsm\"; did you mean 'rms'?"),
        ("lina: 1", "lina: 1\n7: x", ":2: 7: unknown key"),
        ("d_model: 64", "d_model: 30", "backbone.d_model (30) is not a multiple of text.heads (4)"),
        ("lr: 1e-3", "stpes: 1, lrr: 2, wramup: 3", "unknown key; did you mean 'steps'? (known: "),
        ("lr: 1e-3", "stpes: 1, lrr: 2, wramup: 3", "(and 2 more mistakes)"),
        (
            "steps: 10",
            "steps: 10, steps: 20",
            ":9: not valid YAML: ",
        ),
        ("[hello]", "[hello", ":10: not valid YAML: "),
        (
            "[hello]",
            "!!python/object/apply:os.system [id]",
            ":10: not valid YAML: ",
        ),
        ("[hello]", "!!python/name:os.system", "not valid YAML"),
        ("[hello]", "&me [*me]", ":10: not valid YAML: "),
        ("[hello]", "*nobody", ":10: not valid YAML: "),
        ("[hello]", "[" * 3000 + "]" * 3000, ":10: nested deeper than 40"),
        ("[hello]", "[" + "a," * 30_000 + "]", "more than 10000 values"),
        ("[hello]", "!!binary aGVsbG8=", ":10: synthesize.texts: expected a list, found"),
        ("first", "${oc.env:HOME}", "name: '${oc.env:HOME}' is not allowed"),
        ("first", "'${oc.env:HOME,x}'", "is not allowed"),
        ("first", "'${oc.decode:1}'", "is not allowed"),
        ("first", "'${${seed}.env:HOME}'", "is not allowed"),
        ("first", "'${}'", "is not allowed"),
        ("first", "'${.name}'", "is not allowed"),
        ("first", "'a${b'", "is not allowed"),
        ("first", "'\\${name}'", "is not allowed"),
        ("first", "'${nmae}'", ":2: name: ${nmae} names nothing in this spec; did you mean 'name'?"),
        ("first", "'${name}'", ":2: name: a reference to itself: name -> name"),
        ("first", "'${seed}'\nseed: '${name}'", "a reference to itself: seed -> name -> seed"),
        ("first", "'a-${train}'", "${train} is a section or a list"),
        ("first", "'???'", ":2: name: has no value yet"),
        ("first", "'${name.x.y}'", "names nothing in this spec"),
        ("[hello]", "['$', '${synthesize.texts.0}{name}']", "puts a new ${...} together"),
        ("name: first", "include: 5\nname: first", "include: expected a file or a list of files, found 5"),
        ("name: first", "include: /etc/passwd\nname: first", "'/etc/passwd' is absolute"),
        ("name: first", "include: spec.yaml\nname: first", "includes itself: spec.yaml -> spec.yaml"),
        (
            "name: first",
            "include: gone.yaml\nname: first",
            "gone.yaml: this spec does not exist (included by spec.yaml)",
        ),
        (
            "name: first",
            'include: "a\\0.yaml"\nname: first',
            "this spec does not exist (included by spec.yaml)",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    message = refusal(path)
    assert expected in message
    if expected.startswith(":"):
        assert message.startswith(f"{path}{expected[: expected.index(': ') + 2]}")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.steps", "'train.steps' is not key=value"),
        ("=3", "is not key=value"),
        ("train..steps=3", "is not key=value"),
        ("train.stpes=3", "command line: train.stpes: unknown key; did you mean 'steps'?"),
        ("train.steps=ten", 'command line: train.steps: expected a whole number, found "ten"'),
        ("train=3", "command line: train: expected a section"),
        ("train.steps=[1", "command line: train.steps: not valid YAML"),
        ("train.steps=" + "[" * 60 + "]" * 60, "nested deeper than 40"),
        ("train.steps=!!python/object:os.system x", "not valid YAML"),
        ("name=${oc.env:HOME}", "command line: name: '${oc.env:HOME}' is not allowed"),
        ("name=???x", "command line: name: expected letters"),
        ("include=x.yaml", "include belongs in a spec file"),
        ("train.betas[0]=0.5", "command line: train.betas: expected a list"),
        ("backbone.config._target_.x=\udcff", "command line"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path: Path, override: str, expected: str) -> None:
    assert expected in refusal(write(tmp_path, GOOD), override)


def test_the_file_that_wrote_the_key_is_named(tmp_path: Path) -> None:
    base = write(tmp_path, GOOD + "text:\n  layrs: 2\n", "base.yaml")
    assert refusal(write(tmp_path, "include: base.yaml\nseed: 1")).startswith(
        f"{base}:12: text.layrs: unknown key"
    )


def test_a_list_over_a_section_is_refused_with_both_places(tmp_path: Path) -> None:
    base = write(tmp_path, "seed: 1\ntrain:\n  betas: {a: 1}", "base.yaml")
    path = write(tmp_path, f"include: base.yaml\n{GOOD.replace('lr: 1e-3', 'betas: [0.9, 0.95]')}")
    assert (
        refusal(path) == f"{path}:10: train.betas: a list and a section do not mix; the other is at {base}:3"
    )


def test_expansion_is_bounded(tmp_path: Path) -> None:
    texts = ["x" * 100] + [f"${{synthesize.texts.{i}}}" * 10 for i in range(12)]
    message = refusal(write(tmp_path, GOOD.replace("[hello]", str(texts))))
    assert "expands to more than" in message


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    levels += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert "not valid" in refusal(write(tmp_path, "\n".join(levels)))


def test_a_renamed_folder_of_specs_is_found_by_its_former_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert (ROOT / "specs/lina_speech/common.yaml").is_file()
    folder = tmp_path / "lina_speech"
    folder.mkdir()
    write(folder, GOOD.replace("name: first", "name: renamed"))
    assert load_spec(tmp_path / "seed/spec.yaml").name == "renamed"
    assert caplog.messages == [
        f"{tmp_path}/seed/spec.yaml: the folder was renamed; reading {folder}/spec.yaml"
    ]
    assert load_spec(write(tmp_path, "include: seed/spec.yaml")).name == "renamed"
    (tmp_path / "seed").mkdir()
    write(tmp_path / "seed", GOOD)
    assert load_spec(tmp_path / "seed/spec.yaml").name == "first"


def test_a_thousand_includes_are_refused(tmp_path: Path) -> None:
    for level in range(12):
        write(tmp_path, f"include: [{level + 1}.yaml, {level + 1}.yaml]", f"{level}.yaml")
    write(tmp_path, GOOD, "12.yaml")
    assert "includes more than 100 files" in refusal(tmp_path / "0.yaml")


def test_links_in_a_circle_are_no_spec(tmp_path: Path) -> None:
    (tmp_path / "circle.yaml").symlink_to("circle.yaml")
    assert "circle.yaml: this spec does not exist" in refusal(write(tmp_path, "include: circle.yaml"))


def test_a_longer_cycle_of_includes_is_named(tmp_path: Path) -> None:
    write(tmp_path, "include: b.yaml", "a.yaml")
    write(tmp_path, "include: a.yaml", "b.yaml")
    assert "includes itself: a.yaml -> b.yaml -> a.yaml" in refusal(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "lina: is missing"),
        (b"- 1\n- 2", "a spec is keys and values"),
        (b"3", "not valid as a spec"),
        (b"name: \xff\xfe", "not UTF-8 text (byte 6)"),
        (b"name: a\0b", "not valid"),
        (b"a: 1\n---\nb: 2", "not valid YAML"),
        (b"? [1, 2]\n: 3", "not valid YAML"),
        (b"x" * 1_000_001, "more than 1000000 bytes"),
        (b"a: " + b"x" * 999_000, "unknown key"),
        (b"[" * 999_000, "nested deeper"),
        (b"a: {" + b"b: 1, " * 9_000 + b"}", "more than 10000 values"),
    ],
)
def test_files_other_than_specs_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(str(path))
    assert expected in message
    assert len(message) < 1000


def test_a_missing_spec_gets_a_hint(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "first.yaml")
    message = refusal(tmp_path / "frist.yaml")
    assert (
        message
        == f"{tmp_path}/frist.yaml: this spec does not exist; did you mean 'first.yaml'? (known: first.yaml)"
    )
    assert "is not a file" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "no" / "where.yaml")
    assert "does not exist" in refusal(Path("a\0b.yaml"))


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "is not a file" in refusal(tmp_path / "pipe.yaml")


def test_a_secret_in_the_environment_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINA_SECRET", "hunter2")
    for attempt in ("${oc.env:LINA_SECRET}", "${oc.select:'${oc.env:LINA_SECRET}'}", "$LINA_SECRET"):
        path = write(tmp_path, GOOD.replace("[hello]", f'["{attempt}"]'))
        assert "hunter2" not in (load_spec(path).to_yaml() if attempt.startswith("$L") else refusal(path))


def test_reading_a_spec_imports_no_torch(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    code = (
        "import sys; from lina.config.loader import load_spec\n"
        "load_spec(sys.argv[1]); print({'torch'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_origin_does_not_count_in_a_comparison(tmp_path: Path) -> None:
    one, other = load_spec(write(tmp_path, GOOD)), load_spec(write(tmp_path, GOOD, "copy.yaml"))
    assert one == other
    assert one.origin.where(("train", "steps")).endswith("spec.yaml:9")
    assert Spec.model_validate(one.model_dump()).origin.where(("name",)) == "spec"


def test_naming_another_plugin_leaves_the_old_ones_config_out(tmp_path: Path) -> None:
    base = ROOT / "specs/first.yaml"
    assert load_spec(base).backbone.config
    assert load_spec(base, ["backbone.plugin=transformer"]).backbone.config == {}
    own = load_spec(base, ["backbone.plugin=transformer", "backbone.config.window=64"])
    assert own.backbone.config == {"window": 64}
    assert load_spec(base, ["backbone.plugin=gla"]).backbone.config == load_spec(base).backbone.config
    swapped = tmp_path / "swapped.yaml"
    shutil.copyfile(base, tmp_path / "first.yaml")
    swapped.write_text("include: first.yaml\nbackbone: {plugin: transformer}\n")
    assert load_spec(swapped).backbone.config == {}


PATTERN = GOOD.replace("  plugin: gla\n", "  layers: [gla, transformer]\n  after: [mamba]\n  n_layers: 2\n")


def test_naming_one_plugin_leaves_patterns_of_layers_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = write(tmp_path, PATTERN)
    with caplog.at_level("INFO", "lina"):
        backbone = load_spec(base, ["backbone.plugin=retnet", "backbone.config.n_heads=2"]).backbone
    assert (backbone.plugin, backbone.layers, backbone.after) == ("retnet", None, None)
    assert backbone.config == {"n_heads": 2}
    assert f"{base}: backbone.layers is left out for backbone.plugin retnet" in caplog.text
    assert f"{base}: backbone.after is left out for backbone.plugin retnet" in caplog.text
    both = load_spec(base, ["backbone.after=[rwkv7]", "backbone.plugin=gla"]).backbone
    assert (both.plugin, both.layers, both.after) == ("gla", None, ("rwkv7",))
    including = write(tmp_path, "include: spec.yaml\nbackbone: {plugin: retnet}\n", "including.yaml")
    assert load_spec(including).backbone.layers is None


def test_a_pattern_leaves_the_one_plugin_and_its_config_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = write(tmp_path, GOOD.replace("  plugin: gla\n", "  plugin: gla\n  config: {n_heads: 2}\n"))
    with caplog.at_level("INFO", "lina"):
        backbone = load_spec(base, ["backbone.layers=[{mamba: {d_state: 8}}, gla]"]).backbone
    assert (backbone.plugin, backbone.config) == ("mamba", {"d_state": 8})
    assert f"{base}: backbone.config is left out for backbone.layers" in caplog.text
    again = write(
        tmp_path, load_spec(base, ["backbone.layers=[{gla: {n_heads: 4}}, gla]"]).to_yaml(), "a.yaml"
    )
    assert load_spec(again).backbone == load_spec(again, includes=False).backbone


def test_a_pattern_has_its_own_number_of_layers(tmp_path: Path) -> None:
    base = write(tmp_path, GOOD)
    assert load_spec(base, ["backbone.layers=[gla, gla, gla, mamba]"]).backbone.n_layers == 4
    assert load_spec(base, ["backbone.layers=[gla]", "backbone.n_layers=2"]).backbone.n_layers == 2
    assert load_spec(base, ["backbone.layers=null"]).backbone.n_layers == 3


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["backbone.layers=[gla, mamba, gla]", "backbone.n_layers=2"],
            "command line: backbone.n_layers (2) is less than the 3 entries of backbone.layers, whose last ones would "
            "be left out; set n_layers: 3 or more, or shorten layers",
        ),
        (
            ["backbone.layers=[gla, mamba]", "backbone.after=[gla, mamba, gla]"],
            "command line: backbone.n_layers (2) is less than the 3 entries of backbone.after, whose last ones would "
            "be left out; set n_layers: 3 or more, or shorten after",
        ),
        (
            ["backbone.after=[gla, mamba, gla, gla]"],
            "command line: backbone.n_layers (3) is less than the 4 entries of backbone.after, whose last ones would "
            "be left out; set n_layers: 4 or more, or shorten after",
        ),
        (
            ["backbone.layers=[gla, transformer]", "backbone.config.n_heads=2"],
            "command line: backbone.config has no effect beside backbone.layers; give the options with a layer's name, "
            "as in layers: [{gla: {n_heads: 2}}]",
        ),
        (
            ["backbone.plugin=retnet", "backbone.layers=[gla, transformer]"],
            "command line: backbone.plugin (retnet) is not the first of backbone.layers (gla); leave out "
            "one of the two",
        ),
    ],
)
def test_keys_without_effect_beside_a_pattern_are_refused(
    tmp_path: Path, overrides: list[str], expected: str
) -> None:
    assert refusal(write(tmp_path, GOOD), *overrides) == expected


def test_the_spec_of_a_run_with_a_longer_pattern_stays_readable(tmp_path: Path) -> None:
    stored = write(tmp_path, PATTERN.replace("n_layers: 2", "n_layers: 1"))
    assert load_spec(stored, includes=False).backbone.n_layers == 1
    assert "backbone.n_layers (1) is less than the 2 entries" in refusal(stored)
