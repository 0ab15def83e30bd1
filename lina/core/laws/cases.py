"""Cases of a plugin: its laws, by dtype, gates and device."""

from collections.abc import Callable, Sequence

import torch

from lina.core.laws.backbone import BACKBONE_LAWS
from lina.core.laws.building import BUILDS, CONFIG_DEFAULTS_ARE_VALID, role_of
from lina.core.laws.codec import STREAMING_CODEC_LAWS, WHOLE_CODEC_LAWS
from lina.core.laws.gradients import GRADIENTS_REPEAT
from lina.core.laws.law import Conditions, Law, LawCase, LawResult
from lina.core.laws.stream import seeded_build
from lina.core.laws.tokenizer import TOKENIZER_LAWS
from lina.core.plugin import Plugin
from lina.core.protocols import StreamingCodec, implements


def laws_for(plugin: type[Plugin]) -> list[Law]:
    """Laws of a plugin's role, causes before consequences: the first that fails is the likeliest cause of the others.

    A codec whose example does not build has ``builds`` only, which reports the reason.

    Raises:
        PluginError: no laws apply to such a plugin (a corpus).
    """
    role = role_of(plugin)
    if role == "backbone":
        return [BUILDS, CONFIG_DEFAULTS_ARE_VALID, *BACKBONE_LAWS, GRADIENTS_REPEAT]
    if role == "tokenizer":
        return [BUILDS, CONFIG_DEFAULTS_ARE_VALID, *TOKENIZER_LAWS]
    try:
        streams = implements(seeded_build(plugin), StreamingCodec)
    except Exception:
        return [BUILDS]
    return [BUILDS, CONFIG_DEFAULTS_ARE_VALID, *(STREAMING_CODEC_LAWS if streams else WHOLE_CODEC_LAWS)]


def law_cases(
    plugin: type[Plugin], *, device: str = "cpu", dtypes: Sequence[torch.dtype] | None = None
) -> list[LawCase]:
    """Every law under every condition that affects it, for ``pytest.mark.parametrize(..., ids=str)``.

    Args:
        plugin: a subclass of ``BackbonePlugin``, ``CodecPlugin`` or ``TokenizerPlugin``.
        device: where tensors live, such as ``cuda``.
        dtypes: instead of float32 and float64, for the laws that depend on the dtype.

    Raises:
        PluginError: no laws apply to such a plugin (a corpus).
    """
    cases = []
    for law in laws_for(plugin):
        chosen = tuple(dtypes) if dtypes is not None and len(law.dtypes) > 1 else law.dtypes
        for gates in law.gates:
            for dtype in chosen or (torch.float32,):
                cases.append(LawCase(plugin, law, Conditions(dtype, gates, device)))
    return cases


def run_laws(
    plugin: type[Plugin],
    report: Callable[[LawResult], None] = lambda result: None,
    *,
    device: str = "cpu",
    dtypes: Sequence[torch.dtype] | None = None,
) -> list[LawResult]:
    """Check all laws and call ``report`` with each result. A law that cannot be run has failed.

    Raises:
        PluginError: no laws apply to such a plugin (a corpus).
    """
    results = []
    for case in law_cases(plugin, device=device, dtypes=dtypes):
        results.append(case.run())
        report(results[-1])
    return results
