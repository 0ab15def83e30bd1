"""Makes mamba.safetensors: what mamba-ssm's own layer and reference scan compute on a CPU.

    python tests/golden/make_mamba.py FOLDER

FOLDER is an unpacked source distribution of mamba-ssm 2.3.2.post1 (Apache-2.0; it has no wheels, and to import it
wants its CUDA extension and Triton): the two files that matter are read from there, and what they import besides is
an empty module.
``layer.`` is mamba_simple.Mamba with selective_scan_ref for its kernel, whole and step by step; ``scan.`` is
selective_scan_ref alone.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

ROWS, FRAMES, WIDTH, STATE = 2, 40, 16, 8


def stand_in(name: str, **contents: object) -> ModuleType:
    module = sys.modules[name] = ModuleType(name)
    vars(module).update(contents)
    return module


def reference(folder: Path) -> tuple[ModuleType, ModuleType]:
    """The modules mamba_simple and selective_scan_interface, without the package around them."""
    stand_in("mamba_ssm").__path__ = [str(folder / "mamba_ssm")]
    stand_in("selective_scan_cuda")
    stand_in(
        "mamba_ssm.ops.triton.layer_norm",
        _layer_norm_fwd=None,
        RMSNorm=None,
        layer_norm_fn=None,
        rms_norm_fn=None,
    )
    stand_in("mamba_ssm.ops.triton.selective_state_update", selective_state_update=None)
    scan = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    layer = importlib.import_module("mamba_ssm.modules.mamba_simple")
    vars(layer)["selective_scan_fn"] = scan.selective_scan_ref
    return layer, scan


def of_layer(module: ModuleType) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    layer = module.Mamba(WIDTH, d_state=STATE, use_fast_path=False, layer_idx=0)
    with torch.no_grad():  # as after some training: step sizes and rates of many sizes
        layer.dt_proj.bias.add_(2 * torch.randn_like(layer.dt_proj.bias))
        layer.A_log.add_(torch.randn_like(layer.A_log))
        layer.D.add_(torch.randn_like(layer.D))
    x, weight = torch.randn(2, ROWS, FRAMES, WIDTH)
    x.requires_grad_()
    y = layer(x)
    (y * weight).sum().backward()
    conv, memory = layer.allocate_inference_cache(ROWS, FRAMES)[:2]
    with torch.no_grad():
        layer(x[:, :-2], SimpleNamespace(key_value_memory_dict={0: (conv, memory)}, seqlen_offset=0))
        last = [layer.step(x[:, t : t + 1], conv, memory)[0] for t in (FRAMES - 2, FRAMES - 1)]
    found = {"x": x, "weight": weight, "y": y, "gradient.x": x.grad, "conv": conv, "memory": memory}
    found["last"] = torch.cat(last, 1)
    found |= {f"parameter.{name}": value for name, value in layer.named_parameters()}
    return found | {f"gradient.{name}": value.grad for name, value in layer.named_parameters()}


def of_scan(module: ModuleType) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    channels = 6
    arguments = {
        "u": torch.randn(ROWS, channels, FRAMES),
        "delta": F.softplus(torch.randn(ROWS, channels, FRAMES) - 1),
        "a": -torch.randn(channels, STATE).exp(),
        "b": torch.randn(ROWS, STATE, FRAMES),
        "c": torch.randn(ROWS, STATE, FRAMES),
        "skip": torch.randn(channels),
    }
    for value in arguments.values():
        value.requires_grad_()
    y, final = module.selective_scan_ref(*arguments.values(), return_last_state=True)
    weight, final_weight = torch.randn_like(y), torch.randn_like(final)
    ((y * weight).sum() + (final * final_weight).sum()).backward()
    found = {"y": y, "final": final, "weight": weight, "final_weight": final_weight}
    found |= arguments
    return found | {f"gradient.{name}": value.grad for name, value in arguments.items()}


if __name__ == "__main__":
    layer, scan = reference(Path(sys.argv[1]))
    tensors = {f"layer.{name}": value for name, value in of_layer(layer).items()}
    tensors |= {f"scan.{name}": value for name, value in of_scan(scan).items()}
    kept = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
    save_file(kept, Path(__file__).with_name("mamba.safetensors"))
