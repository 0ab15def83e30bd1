"""Kills a process that writes checkpoints without pause, again and again; run as a script by test_checkpoint.

    python kill_writer.py FOLDER KILLS

The child tells each finished save through a pipe. After every kill the newest checkpoint must be whole and not older
than the last one reported. Prints the number of kills.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn

from lina.runs.checkpoint import save_checkpoint
from lina.runs.checkpoint_store import Checkpoint, newest_checkpoint


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(300, 300)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 300)).sum().backward()
    optimizer.step()
    return model, optimizer


def write_without_pause(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, step: int, tell: int
) -> None:
    while True:
        step += 1
        save_checkpoint(
            folder,
            step=step,
            seconds=0.0,
            corpus="",
            model=model,
            optimizer=optimizer,
            average=model.state_dict(),
            keep=2,
        )
        os.write(tell, step.to_bytes(8, "big"))


def kill_once(
    trained_pair: tuple[nn.Module, torch.optim.Optimizer], folder: Path, step: int, seconds: float
) -> Checkpoint | None:
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hear)
        write_without_pause(*trained_pair, folder, step, tell)
    os.close(tell)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    reported = b"".join(iter(lambda: os.read(hear, 1 << 16), b""))
    os.close(hear)
    newest = newest_checkpoint(folder)
    last = int.from_bytes(reported[-8:], "big") if reported else step
    assert (newest.step if newest else 0) >= last, f"step {last} was reported, {newest} is there"
    return newest


def main(folder: Path, kills: int) -> None:
    torch.set_num_threads(1)
    draw = random.Random(0)
    trained_pair = trained()
    step = 0
    for _ in range(kills):
        newest = kill_once(trained_pair, folder, step, draw.uniform(0.005, 0.12))
        step = newest.step if newest else 0
    print(kills, step)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
