"""The law of tokenizers that train."""

import json

from lina.core.laws.law import Conditions, Law, NotApplicable, Violation
from lina.core.laws.tokenizer_texts import TEXTS
from lina.core.plugin import Plugin, TokenizerPlugin


def training_survives_json(plugin: type[Plugin]) -> None:
    """The result of train is a JSON value, the same for the same texts, from which build makes the same tokenizer."""
    assert issubclass(plugin, TokenizerPlugin)
    if plugin.train.__func__ is TokenizerPlugin.train.__func__:  # type: ignore[attr-defined]
        raise NotApplicable("it does not train")
    config = plugin.example()["config"]
    texts = [text for text in TEXTS if text.isascii() and text.isprintable()] * 4
    trained, again = (plugin.train(iter(texts), config=config) for _ in range(2))
    try:
        read = json.loads(json.dumps(trained))
    except (TypeError, ValueError) as error:
        raise Violation(f"train returned {type(trained).__name__}, which is no JSON value: {error}") from None
    if json.dumps(again) != json.dumps(trained):
        raise Violation("train on the same texts, called twice, returned different values")
    first, second = (plugin.build(config=config, trained=value) for value in (trained, read))
    if first.vocab_size != second.vocab_size:
        raise Violation(f"vocab_size {first.vocab_size} as trained, {second.vocab_size} after JSON")
    for text in texts[: len(texts) // 4]:
        expected, found = first.parallel_forward(text), second.parallel_forward(text)
        if found != expected:
            raise Violation(f"text {text!r}: expected ids {expected} as trained, found {found} after JSON")


def _training_law() -> Law:
    def check(plugin: type[Plugin], conditions: Conditions) -> None:
        training_survives_json(plugin)

    statement = (training_survives_json.__doc__ or "").splitlines()[0]
    return Law(training_survives_json.__name__, statement, check, dtypes=())
