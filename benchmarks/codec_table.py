"""The results of benchmarks/codecs.py as Markdown."""

import math
from collections.abc import Sequence
from typing import Any


def tables(results: dict[str, Any]) -> str:
    blocks = []
    for name in results["sets"]:
        blocks.append(_quality(results, name))
        if results["against"] is not None:
            blocks.append(_differences(results, name))
    if any("speed" in row for row in results["codecs"].values()):
        blocks.append(_speed(results))
    return "\n\n".join([*blocks, *_delays(results)])


def _quality(results: dict[str, Any], name: str) -> str:
    about = results["sets"][name]
    lines = [
        f"{name}: {len(about['ids'])} recordings, {about['seconds'] / 60:.1f} min; 95 % intervals in brackets",
        "",
        *_head(
            "codec", "kbit/s", "PESQ-wb", "STOI", "ViSQOL", "DNSMOS", "Distill-MOS", "WER %", "to original",
            "WER other %", "to original", "mel, dB", "entropy, bits", "entries used",
        ),
    ]  # fmt: skip
    for codec, row in results["codecs"].items():
        measured = row["sets"].get(name)
        if measured is None:
            continue
        found = measured["summary"]
        use = measured.get("codebooks")
        lines.append(
            _line(
                codec,
                _kbits(row),
                *(_ranged(found[one], 2 if one == "pesq" else 3) for one in ("pesq", "stoi")),
                *(_ranged(found[one], 2) for one in ("visqol", "dnsmos", "distill_mos")),
                _value(found["wer"], 1, 100),
                _ranged(found["wer_minus_original"], 1, 100, sign="+"),
                _value(found["wer_other"], 1, 100),
                _ranged(found["wer_other_minus_original"], 1, 100, sign="+"),
                _ranged(found["mel"], 2),
                "" if use is None else _entropy(use, row["codebook_sizes"]),
                "" if use is None else f"{100 * _mean(use['share_used']):.0f} %",
            )
        )
    for codec, row in results["published"].items():
        lines.append(
            _line(f"{codec} (published)", _kbits(row), f"{row['pesq']:.2f}", f"{row['stoi']:.3f}", *[""] * 10)
        )
    sources = {row["source"] for row in results["published"].values()}
    return "\n".join([*lines, *(f"\n(published): {source}." for source in sorted(sources))])


def _differences(results: dict[str, Any], name: str) -> str:
    against = results["against"]
    lines = [
        f"{name}: differences to {against}, paired over recordings",
        "",
        *_head("codec", "PESQ-wb", "STOI", "ViSQOL", "DNSMOS", "Distill-MOS", "WER, points", "mel, dB"),
    ]
    for codec, row in results["codecs"].items():
        found = row["sets"].get(name, {}).get("summary", {}).get("against")
        if found is None or codec == against:
            continue
        lines.append(
            _line(
                codec,
                _ranged(found["pesq"], 2, sign="+"),
                _ranged(found["stoi"], 3, sign="+"),
                *(_ranged(found[one], 2, sign="+") for one in ("visqol", "dnsmos", "distill_mos")),
                _ranged(found["wer"], 1, 100, sign="+"),
                _ranged(found["mel"], 2, sign="+"),
            )
        )
    return "\n".join(lines)


def _speed(results: dict[str, Any]) -> str:
    lines = [
        "One core, times real time; latency is of frames, not of computing",
        "",
        *_head(
            "codec", "kbit/s", "frames/s", "codebooks", "encode", "decode", "decode by frames",
            "encoder latency, ms", "decoder latency, ms", "weights, bytes",
        ),
    ]  # fmt: skip
    for codec, row in results["codecs"].items():
        if "speed" not in row:
            continue
        sizes = row["codebook_sizes"]
        lines.append(
            _line(
                codec,
                _kbits(row),
                f"{row['frame_rate']:g}",
                f"{len(sizes)} × {sizes[0]}" if len(set(sizes)) == 1 else f"{len(sizes)}",
                *(f"{row['speed'][one]:.0f}" for one in ("encode", "decode", "decode_steps")),
                *(
                    "whole" if row["latency"][one] is None else f"{row['latency'][one]:.0f}"
                    for one in ("encoder", "decoder")
                ),
                "" if row["weights_bytes"] is None else f"{row['weights_bytes']:,}",
            )
        )
    return "\n".join(lines)


def _delays(results: dict[str, Any]) -> list[str]:
    late = [
        f"{codec}: its audio comes {row['delay']:.0f} ms late; taken off before judging"
        for codec, row in results["codecs"].items()
        if row.get("delay")
    ]
    return ["\n".join(late)] if late else ["No codec's audio comes late (by cross-correlation of envelopes)."]


def _head(*names: str) -> list[str]:
    return [_line(*names), "|---|" + "---:|" * (len(names) - 1)]


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _kbits(row: dict[str, Any]) -> str:
    bits = row.get("bits_per_second")
    return "" if bits is None else f"{bits / 1000:.2f}"


def _value(found: dict[str, float] | None, digits: int, scale: float = 1.0) -> str:
    return "" if found is None else f"{scale * found['value']:.{digits}f}"


def _ranged(found: dict[str, float] | None, digits: int, scale: float = 1.0, sign: str = "") -> str:
    if found is None:
        return ""
    value, low, high = (f"{scale * found[key]:{sign}.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _entropy(use: dict[str, Any], sizes: Sequence[int]) -> str:
    return f"{_mean(use['entropy_bits']):.2f} of {_mean([math.log2(size) for size in sizes]):.2f}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
