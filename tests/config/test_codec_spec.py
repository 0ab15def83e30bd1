"""Specs of job codec: read back as written, mistakes named with their place."""

from pathlib import Path

import pytest

from lina.config.codec_spec import CodecSpec
from lina.config.loader import load_job, load_spec
from lina.core.errors import LinaError, PluginError, SpecError
from tests.codec_training.small import SPEC, plugin, small

__all__ = ["plugin"]


def written(folder: Path, text: str = SPEC) -> Path:
    path = folder / "codec.yaml"
    path.write_text(text)
    return path


def test_a_spec_reads_back_as_it_was_written(tmp_path: Path) -> None:
    spec = load_job(written(tmp_path))
    assert isinstance(spec, CodecSpec)
    assert spec.train.out == Path("runs/small")
    assert spec.train.discriminators.windows == (256, 64)
    again = tmp_path / "again.yaml"
    again.write_text(spec.to_yaml())
    assert load_job(again) == spec


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        (
            "job=codek",
            r"command line: job: unknown job 'codek'; did you mean 'codec'\? \(known: codec, speech\)",
        ),
        ("job=[codec]", r"command line: job: unknown job \['codec'\]"),
        ("train.stepz=3", r"command line: train\.stepz: unknown key; did you mean 'steps'\?"),
        ("train.losses.mell=3", r"train\.losses\.mell: unknown key; did you mean 'mel'\?"),
        ("data.sources=[]", r"data\.sources: "),
        (
            "data.sources=[{source: jsonl, wait: 2}]",
            r"data\.sources\.0\.wait: unknown key; did you mean 'weight'\?",
        ),
        ("data.valid=-1", r"data\.valid: expected a number greater than or equal to 0"),
        ("data.valid=0.7", r"data\.valid: expected "),
        ("data.min_seconds=40", r"min_seconds \(40\.0\) must be below max_seconds \(30\.0\)"),
        ("train.augment.level=[-1,-9]", r"level: -1\.0 is more than -9\.0; write the smaller one first"),
        (
            "train.augment.speeds=[1.1,1.2]",
            r"train\.augment\.speeds\.0: expected a number less than or equal to 1",
        ),
        ("train.discriminators={windows: [], periods: []}", "windows and periods are both empty"),
        (
            "train={crop_seconds: 0.3, losses: {intelligibility: 1.0}}",
            r"crop_seconds = 0\.3 is too short for losses\.intelligibility; write 0\.45 or more, or losses",
        ),
        ("backbone.plugin=gla", r"backbone: unknown key"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, override: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        load_job(written(tmp_path), [override])


def test_a_line_of_the_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, SPEC.replace("weight: 2.0", "weight: 0"))
    with pytest.raises(
        SpecError, match=r"codec\.yaml:10: data\.sources\.1\.weight: expected a number greater than 0"
    ):
        load_job(path)


def test_load_spec_refuses_job_codec(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"codec\.yaml:3: job: codec does not train a speech model"):
        load_spec(written(tmp_path))


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("override", "kind", "complaint"),
    [
        (
            "codec.plugin=toy-trainible",
            PluginError,
            "command line: codec.plugin: .*did you mean 'toy-trainable'",
        ),
        (
            "codec.config={weihts: a}",
            SpecError,
            r"codec\.config\.weihts: unknown key; did you mean 'weights'\?",
        ),
        ("data.sources=[{source: jsonI}]", PluginError, r"data\.sources\.0\.source: .*did you mean 'jsonl'"),
        ("data.sources=[{source: jsonl}]", SpecError, r"data\.sources\.0\.config\.path: is missing"),
    ],
)
def test_plugins_are_checked(tmp_path: Path, override: str, kind: type[LinaError], complaint: str) -> None:
    with pytest.raises(kind, match=complaint):
        small(tmp_path, override)


@pytest.mark.usefixtures("plugin")
def test_paths_of_sources_are_the_specs_own(tmp_path: Path) -> None:
    spec = small(tmp_path).spec
    assert [one.config["path"] for one in spec.data.sources] == [
        str(tmp_path / name / "manifest.jsonl") for name in ("one", "other")
    ]
