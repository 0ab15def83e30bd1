"""Words that a voice loses or adds where texts are unusual: one word or letter, short sentences, long lists.

    python -m benchmarks.lost_words [--run DIR] [--part takes|sentences|lists] [--json benchmarks/lost-words.json]

``takes``: 54 words and letters, each with three seeds. A take is silent if no 20 ms of it are louder than -34 dBFS, and
does not end if the model did not end it: the window or ``max_seconds`` did. ``sentences``: texts of two or three short
sentences. ``lists``: 20 lists of 12 to 40 items, with and without repeated items. Sentences and lists are transcribed
by the recognizer faster-whisper (tiny.en, greedy). A word is lost where jiwer's alignment deletes it; substitutions, of
which homophones such as flour and flower are part, and insertions are counted separately.
"""

import argparse
import datetime
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soxr
import torch

import lina
from lina.core.errors import LinaError
from lina.core.registry import load as load_plugin
from lina.evaluation.error_rates import align
from lina.evaluation.normalization import normalize
from lina.speech.result import Speech
from lina.speech.voice import Voice

PARTS = ("takes", "sentences", "lists")
SEEDS = (0, 1, 2)
ROWS = 18
"""Texts per batch."""
LOUD = 0.02
"""Root mean square over 20 ms, full scale is 1."""


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TAKES = (
    *"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    *_split(
        "Yes No Stop Go Hello Thanks Okay Please Now Wait Help Good Fine Great Sorry Maybe Why Ready Done Left Right "
        "Up Down One Ten Zero Hi Bye"
    ),
)
SENTENCES = (
    "Yes. I agree.", "No. Stop it.", "Hello. Come in.", "Good. Let us go.", "Thanks. See you soon.", "Fine. Do it.",
    "Great. What next?", "Stop. Look. Listen.", "Yes. No. Maybe.", "Ready? Set. Go!", "Who is it? It is Tom.",
    "Wait. Not yet.", "Oh. I see.", "Run! Hide!", "Left. Right. Left.", "Sure. Why not?", "Sit. Stay. Good dog.",
    "Up. Down. Up again.",
)  # fmt: skip
ITEMS = _split(
    "apples plums grapes figs dates melons lemons peaches bananas carrots onions potatoes beans tomatoes pepper salt "
    "sugar butter cheese bread milk rice honey coffee candles matches rope nails paint gloves ladders baskets brushes "
    "blankets pillows towels shampoo pencils paper scissors stamps batteries magazines umbrellas spoons plates"
)
LEADS = ("", "We bought ", "Please bring ", "The box holds ", "She packed ")


def lists(count: int = 20, least: int = 12, most: int = 40) -> list[str]:
    """Lists of ``least`` to ``most`` items: different ones, random ones, and eight that come again and again."""
    chance = random.Random(1)
    texts = []
    for number in range(count):
        items = least + number * (most - least) // (count - 1)
        if number % 4 == 3:
            chosen = (chance.sample(ITEMS, 8) * items)[:items]
        elif number % 4 == 1:
            chosen = chance.choices(ITEMS, k=items)
        else:
            chosen = chance.sample(ITEMS, items)
        joint = ", and " if number % 2 else ", "
        text = f"{LEADS[number % len(LEADS)]}{', '.join(chosen[:-1])}{joint}{chosen[-1]}."
        texts.append(text[0].upper() + text[1:])
    return texts


def measure_takes(voice: Voice) -> dict[str, Any]:
    rows = []
    for seed in SEEDS:
        for text, speech in zip(TAKES, _speak(voice, TAKES, seed), strict=True):
            seconds = speech.audio.shape[1] / voice.sample_rate
            rows.append(
                {
                    "text": text,
                    "seed": seed,
                    "seconds": round(seconds, 2),
                    "silent": loudest(speech, voice.sample_rate) < LOUD,
                    "ended": speech.stopped,
                }
            )
    return {
        "takes": len(rows),
        "silent": sum(row["silent"] for row in rows),
        "not_ended": sum(not row["ended"] for row in rows),
        "longest": max(row["seconds"] for row in rows),
        "failed": [row for row in rows if row["silent"] or not row["ended"]],
    }


def loudest(speech: Speech, sample_rate: int) -> float:
    """The largest root mean square of 20 ms."""
    length = sample_rate // 50
    audio = speech.audio[0]
    whole = audio[: len(audio) // length * length].view(-1, length)
    return float(whole.square().mean(1).sqrt().max()) if len(whole) else 0.0


def count_lost(text: str, transcript: str) -> dict[str, int]:
    """Numbers of words: of the text, lost, substituted and inserted in the transcript."""
    reference, transcribed = normalize(text, "en"), normalize(transcript, "en")
    found = {"words": len(reference), "lost": 0, "substituted": 0, "inserted": 0}
    for chunk in align(reference, transcribed):
        if chunk.type == "delete":
            found["lost"] += chunk.ref_end_idx - chunk.ref_start_idx
        elif chunk.type == "substitute":
            found["substituted"] += chunk.ref_end_idx - chunk.ref_start_idx
        elif chunk.type == "insert":
            found["inserted"] += chunk.hyp_end_idx - chunk.hyp_start_idx
    return found


def measure_texts(
    voice: Voice, recognizer: Any, texts: Sequence[str], seeds: Sequence[int]
) -> dict[str, Any]:
    total, failed, count = {"words": 0, "lost": 0, "substituted": 0, "inserted": 0}, [], 0
    for seed in seeds:
        for text, speech in zip(texts, _speak(voice, texts, seed), strict=True):
            audio = soxr.resample(speech.audio[0].numpy(), voice.sample_rate, recognizer.sample_rate)
            transcript = recognizer.transcribe(torch.from_numpy(audio))
            found = count_lost(text, transcript)
            total = {key: total[key] + found[key] for key in total}
            count += 1
            if found["lost"] or not speech.stopped:
                failed.append(
                    {"text": text, "seed": seed, "transcript": transcript, "ended": speech.stopped} | found
                )
    return {"texts": count} | total | {"failed": failed}


def _speak(voice: Voice, texts: Sequence[str], seed: int) -> list[Speech]:
    return [
        speech
        for start in range(0, len(texts), ROWS)
        for speech in voice.speak(texts[start : start + ROWS], seed=seed)
    ]


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = []
    if takes := result.get("takes"):
        lines += [
            "| takes of one word or letter | silent | not ended | longest, s |",
            "|---|---|---|---|",
            f"| {takes['takes']} | {takes['silent']} | {takes['not_ended']} | {takes['longest']:.2f} |",
            "",
        ]
    texts = {part: result[part] for part in ("sentences", "lists") if part in result}
    if texts:
        lines += ["| | texts | words | lost | substituted | inserted |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {part} | {one['texts']} | {one['words']} | {one['lost']} | {one['substituted']} | {one['inserted']} |"
            for part, one in texts.items()
        ]
    return "\n".join(lines).strip()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", help="a run or an exported voice; lina's own if left out")
    parser.add_argument("--part", choices=PARTS, action="append", help="all by default")
    parser.add_argument("--json", type=Path, help="write all numbers there")
    arguments = parser.parse_args()
    parts = arguments.part or PARTS
    result: dict[str, Any] = {
        "voice": arguments.run or "lina's own",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "torch": torch.__version__,
    }
    try:
        voice = lina.load(arguments.run, device="cpu", threads=1).voice
        if "takes" in parts:
            result["takes"] = measure_takes(voice)
        if "sentences" in parts or "lists" in parts:
            plugin = load_plugin("recognizer", "faster-whisper")
            recognizer = plugin.build(config=plugin.Config.model_validate({"threads": 1}))
            if "sentences" in parts:
                result["sentences"] = measure_texts(voice, recognizer, SENTENCES, SEEDS)
            if "lists" in parts:
                result["lists"] = measure_texts(voice, recognizer, lists(), SEEDS[:1])
    except LinaError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(table(result))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
