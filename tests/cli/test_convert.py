from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.conftest import Lina
from tests.golden.lina_speech.rebuild import checkpoint, expected

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lina-speech") / "gla.pt"
    torch.save({"model": checkpoint("gla")}, path)
    return path


def test_a_run_is_written_and_missing_files_are_listed(lina: Lina, released: Path, tmp_path: Path) -> None:
    done = lina("convert", "lina-speech", str(released), str(tmp_path / "runs/gla"))
    assert done.code == 0
    assert done.out.splitlines() == [
        f"{tmp_path}/runs/gla: gla, 834,080 parameters, width 64, 2 layers per side, 4 codebooks, 256 text ids",
        f"needed for synthesis, put it there: {tmp_path}/runs/gla/bpe256.json",
        f"needed for synthesis, put it there: {tmp_path}/runs/gla/encodec_24khz-d7cc33bc.th",
    ]
    speech = lina("say", "--run", str(tmp_path / "runs/gla"), "Hello.", "-o", str(tmp_path / "a.wav"))
    assert speech.code == 2
    assert f"{tmp_path}/runs/gla/encodec_24khz-d7cc33bc.th: no such file" in speech.err


def test_verification_prints_each_difference(lina: Lina, released: Path, tmp_path: Path) -> None:
    save_file({name: value.contiguous() for name, value in expected("gla").items()}, tmp_path / "good")
    done = lina(
        "convert",
        "lina-speech",
        str(released),
        str(tmp_path / "run"),
        "--verify",
        str(tmp_path / "good"),
    )
    assert done.code == 0
    names = [line.partition("  ")[0] for line in done.out.splitlines()[:6]]
    assert names == [
        "delayed",
        "logits, in parallel",
        "attention, in parallel",
        "logits, step by step",
        "attention, step by step",
        "greedy",
    ]
    assert (tmp_path / "run/spec.yaml").exists()


def test_a_model_that_is_off_is_not_written(lina: Lina, released: Path, tmp_path: Path) -> None:
    wrong = {"attention": expected("gla")["attention"] + 2e-4}
    wrong |= {name: expected("gla")[name] for name in ("text", "codes")}
    save_file(wrong, tmp_path / "wrong")
    done = lina(
        "convert",
        "lina-speech",
        str(released),
        str(tmp_path / "run"),
        "--verify",
        str(tmp_path / "wrong"),
    )
    assert done.code == 2
    assert done.out.splitlines()[0] == "attention, in parallel   largest difference 2.0e-04"
    assert (
        "attention, in parallel; attention, step by step: off by more than 0.0001; the run was not"
        in done.err
    )
    assert done.err.count("\n") == 1
    assert [one.name for one in tmp_path.iterdir()] == ["wrong"]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (None, "cannot be read as safetensors"),
        ({"text": torch.ones(1, 3)}, "has text; needed are text, codes and at least one of delayed, logits"),
        (
            {
                "text": torch.full((1, 3), 256),
                "codes": torch.ones(1, 4, 2, dtype=torch.int64),
                "greedy": torch.ones(4, 2, dtype=torch.int64),
            },
            "with ids up to 256 are of another model: this one has 4 codebooks of 1024 codes, 256 text ids",
        ),
        (
            {
                "text": torch.ones(1, 3, dtype=torch.int64),
                "codes": torch.full((1, 4, 2), 1024),
                "greedy": torch.ones(4, 2, dtype=torch.int64),
            },
            "codes [1, 4, 2] up to 1024 or",
        ),
        (
            {
                "text": torch.ones(3, dtype=torch.int64),
                "codes": torch.ones(4, 2, dtype=torch.int64),
                "greedy": torch.ones(4, 2, dtype=torch.int64),
            },
            "text is [3]; needed are 2 axes, none of them empty",
        ),
        (
            {
                "text": torch.ones(1, 3),
                "codes": torch.ones(1, 4, 2, dtype=torch.int64),
                "greedy": torch.ones(4, 2, dtype=torch.int64),
            },
            "text are torch.float32; needed are int64",
        ),
        (
            {
                "text": torch.ones(1, 3, dtype=torch.int64),
                "codes": torch.ones(1, 4, 2, dtype=torch.int64),
                "logits": torch.ones(1, 6, 4, 2),
                "tokens": torch.ones(3, 2, dtype=torch.int64),
            },
            "are of another model: this one has 4 codebooks",
        ),
        (
            {
                "text": torch.ones(1, 3, dtype=torch.int64),
                "codes": torch.ones(1, 4, 2, dtype=torch.int64),
                "delayed": torch.ones(1, 2, 4, dtype=torch.int64),
            },
            "delayed is [1, 2, 4] there, but [1, 7, 4] here",
        ),
    ],
)
def test_invalid_files_of_expected_outputs(
    tensors: dict[str, torch.Tensor] | None,
    message: str,
    refused: Refused,
    released: Path,
    tmp_path: Path,
) -> None:
    file = tmp_path / "expected"
    if tensors is not None:
        save_file(tensors, file)
    assert message in refused(
        "convert", "lina-speech", str(released), str(tmp_path / "run"), "--verify", str(file)
    )
    assert not (tmp_path / "run").exists()


def test_no_checkpoint(refused: Refused, tmp_path: Path) -> None:
    line = refused("convert", "lina-speech", str(tmp_path / "none.pt"), str(tmp_path / "run"))
    assert f"{tmp_path}/none.pt: no such file; a checkpoint of lina-speech is" in line


def test_the_former_name_of_the_command_is_an_alias(refused: Refused, lina: Lina, tmp_path: Path) -> None:
    line = refused("convert", "seed", str(tmp_path / "none.pt"), str(tmp_path / "run"))
    assert f"{tmp_path}/none.pt: no such file" in line
    assert "seed" not in lina("convert", "--help").out
