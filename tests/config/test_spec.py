import pytest
from pydantic import ValidationError

from lina.config.spec import Spec, differences

SMALL = {
    "lina": 1,
    "name": "small",
    "backbone": {"plugin": "gla"},
    "codec": {"plugin": "codec2"},
    "tokenizer": {"plugin": "bytes"},
    "data": {"source": "folder", "config": {"root": "clips"}},
}


def small(**changes: object) -> Spec:
    return Spec.model_validate(SMALL | changes)


def test_defaults_are_whole_and_the_run_directory_carries_the_name() -> None:
    spec = small()
    assert spec.train.out.as_posix() == "runs/small"
    assert spec.synthesize.temperature == 0.0
    assert small(train={"out": "elsewhere/${name}/x"}).train.out.as_posix() == "elsewhere/small/x"


def test_a_spec_is_a_value() -> None:
    assert small() == small()
    spec = small()
    with pytest.raises(ValidationError):
        spec.seed = 3
    with pytest.raises(ValidationError):
        spec.train.steps = 3
    assert spec == small()


def test_differences_name_each_changed_key_with_both_values() -> None:
    old = small()
    new = small(
        train={"lr": 3e-4, "betas": (0.9, 0.95)},
        data={"source": "folder", "config": {"root": "other", "depth": 1}},
    )
    assert differences(old, new) == [
        "data.config.root: clips -> other",
        "train.lr: 0.001 -> 0.0003",
        "train.betas: [0.9, 0.99] -> [0.9, 0.95]",
        "data.config.depth: (nothing) -> 1",
    ]
    assert differences(old, small()) == []


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x" * 101, "é", "a\n", "-rf", "a\0"])
def test_a_name_is_safe_as_a_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        small(name=name)


@pytest.mark.parametrize(
    "change",
    [
        {"train": {"steps": 0}},
        {"train": {"steps": 10**12}},
        {"train": {"lr": 0.0}},
        {"train": {"lr": float("nan")}},
        {"train": {"lr": float("inf")}},
        {"train": {"betas": (0.9, 1.0)}},
        {"train": {"threads": 0}},
        {"backbone": {"plugin": "gla", "d_model": 0}},
        {"backbone": {"plugin": "gla", "n_layers": 10**6}},
        {"codec": {"plugin": "codec2", "codebooks": 0}},
        {"codec": {"plugin": ""}},
        {"data": {"source": "folder", "valid": 1.0}},
        {"data": {"source": "folder", "min_seconds": 5, "max_seconds": 5}},
        {"conditions": {"drop_text": 1.5}},
        {"conditions": {"drop_speaker": 0.1}},
        {"synthesize": {"temperature": -1}},
        {"synthesize": {"top_k": 0}},
        {"synthesize": {"top_p": [0.5, 0.0]}},
        {"synthesize": {"max_seconds": 1e9}},
        {"synthesize": {"guidance": -1.0}, "conditions": {"drop_text": 0.1}},
        {"synthesize": {"guidance": 2.0}},
        {"synthesize": {"best_of": 0}},
        {"synthesize": {"best_of": 65, "temperature": 1.0}},
        {"synthesize": {"best_of": 4}},
        {"synthesize": {"best_of": 4, "temperature": (0.0, 0.0)}},
        {"seed": -1},
        {"text": {"heads": 3}},
        {"text": {"heads_cross": 7}},
        {"text": {"attention": "position", "heads_cross": 2}},
        {"text": {"rotary_channels": 8}},
        {"text": {"rotary": True, "rotary_channels": 3}},
        {"text": {"attention": "plain", "heads_cross": 4, "rotary": True, "rotary_channels": 66}},
        {"text": {"position_layers": 0}},
        {"lina": 2},
        {"_target_": "os.system"},
    ],
)
def test_numbers_have_bounds_and_parts_fit_together(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        small(**change)


def test_guidance_and_choice_want_a_model_and_a_sampling_that_can() -> None:
    with pytest.raises(
        ValidationError, match=r"synthesize\.guidance \(2\.0\) needs .* conditions\.drop_text above 0"
    ):
        small(synthesize={"guidance": 2.0})
    with pytest.raises(
        ValidationError, match=r"synthesize\.best_of \(4\) needs a synthesize\.temperature above 0"
    ):
        small(synthesize={"best_of": 4})
    both = small(
        synthesize={"guidance": 2.0, "best_of": 4, "temperature": (0.0, 0.5)}, conditions={"drop_text": 0.1}
    )
    assert both.synthesize.guidance == 2.0
