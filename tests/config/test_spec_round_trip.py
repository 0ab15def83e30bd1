from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lina.config.loader import load_spec
from lina.config.spec import Spec
from tests.config.test_spec import small

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30).filter(
    lambda text: "${" not in text
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), inner)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("specs") / "spec.yaml"


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(TEXTS, max_size=3), value=VALUES, lr=st.floats(1e-12, 10.0))
@example(
    texts=["1e3", "0x1F", "12:30:00", "1_000", "~", "yes", "null", "=", "<<", " a ", "", "- b", "#c"],
    value=1,
    lr=1,
)
@example(
    texts=["a: b", "'", '"', "\\n", "[", "{x}", "&a", "*a", "!b", "%c", "@", "`", "???x", "$", "2026-01-01"],
    value=1,
    lr=1,
)
def test_any_spec_reads_back_as_it_was_written(
    path: Path, texts: list[str], value: object, lr: float
) -> None:
    spec: Spec = small(
        synthesize={"texts": texts}, codec={"plugin": "codec2", "config": {"value": value}}, train={"lr": lr}
    )
    path.write_text(spec.to_yaml(), encoding="utf-8")
    assert load_spec(path) == spec
