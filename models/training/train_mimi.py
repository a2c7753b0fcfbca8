# SPDX-License-Identifier: MIT
"""Trains the embedded Mimi, in three stages on one schedule; goes on from the last checkpoint in --work.

autoencoder: without codes; noise stands in for them, so that latents are worth coding.
codes: codebooks by k-means on those latents; then all learns together, straight through the codes.
decoder: the encoder stands; the codebooks are fitted to it once more; the decoder learns what they say.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from codec import Codec
from crops import Crops
from losses import SpeechLoss
from shape import CODEBOOKS, FRAME
from start import standardize

BATCH = 8
FRAMES = 24  # of a crop: 1.92 s
FIT_BATCHES = 300  # that k-means sees: 57,600 frames
WARM_UP = 300  # steps
SAVE_EVERY = 250
REPORT_EVERY = 50
NOISE = 0.4  # at most, of the latents' root mean square
SIZE = 0.02  # how much it matters that latents keep a deviation of 1
COMMITMENT = 0.5
ENCODER_RATE = 0.1  # of the decoder's, while codebooks follow: they must be able to
MAIN_CODEBOOKS = 8  # what pipelines use unless told otherwise


@dataclass(frozen=True)
class Stage:
    name: str
    steps: int
    rate: float  # learning rate at its beginning
    final_rate: float

    def rate_at(self, step: int) -> float:
        done = step / self.steps
        return self.final_rate + (self.rate - self.final_rate) * 0.5 * (1.0 + math.cos(math.pi * done))


STAGES = (
    Stage("autoencoder", 5000, 1e-3, 4e-4),
    Stage("codes", 1500, 6e-4, 4e-4),
    Stage("decoder", 2800, 5e-4, 2e-5),
)


class Training:
    def __init__(self, speech: Path, work: Path, seed: int, bf16: bool):
        torch.manual_seed(seed)
        self.work, self.seed, self.bf16 = work, seed, bf16
        self.codec, self.loss = Codec(), SpeechLoss()
        self.crops = Crops(speech, FRAMES * FRAME, seed)
        self.random = torch.Generator().manual_seed(seed)
        self.stage, self.step, self.entered = 0, 0, False
        self.optimizer: torch.optim.Optimizer = self.new_optimizer()
        self.means: dict[str, float] = {}

    @property
    def now(self) -> Stage:
        return STAGES[self.stage]

    def new_optimizer(self) -> torch.optim.Optimizer:
        groups = [{"params": self.codec.decoder_parameters(), "of_rate": 1.0}]
        if self.now.name != "decoder":
            of_rate = 1.0 if self.now.name == "autoencoder" else ENCODER_RATE
            groups.append({"params": self.codec.encoder_parameters(), "of_rate": of_rate})
        return torch.optim.AdamW(groups, lr=self.now.rate, betas=(0.9, 0.99), weight_decay=1e-4)

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def save(self) -> None:
        state = {
            "codec": self.codec.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "crops": self.crops.state(),
            "random": self.random.get_state(),
            "place": (self.stage, self.step, self.entered),
            "schedule": self.schedule(),
        }
        part = self.work / "checkpoint.part"
        torch.save(state, part)
        part.replace(self.work / "checkpoint.pt")

    def schedule(self) -> dict:
        return {"seed": self.seed, "stages": [asdict(stage) for stage in STAGES]}

    def resume(self) -> None:
        path = self.work / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=False)
        if state["schedule"] != self.schedule():
            raise SystemExit(f"{path} is of another seed or schedule: remove it, or name another --work")
        self.codec.load_state_dict(state["codec"])
        self.stage, self.step, self.entered = state["place"]
        if self.entered:  # otherwise enter() makes a new one
            self.optimizer = self.new_optimizer()
            self.optimizer.load_state_dict(state["optimizer"])
        self.crops.restore(state["crops"])
        self.random.set_state(state["random"])

    # --- one step ------------------------------------------------------------------------------------------------

    def draw_codebooks(self) -> torch.Tensor:
        """How many codebooks each crop may use: mostly what people use, sometimes any number."""
        any_number = torch.randint(1, CODEBOOKS + 1, (BATCH,), generator=self.random)
        which = torch.rand(BATCH, generator=self.random)
        usual = torch.where(which < 0.35, MAIN_CODEBOOKS, CODEBOOKS)
        return torch.where(which < 0.7, usual, any_number)

    def with_noise(self, side: torch.Tensor) -> torch.Tensor:
        # The gradient of their size counts: else making latents larger would be the way to less noise.
        level = torch.rand(len(side), 1, 1, generator=self.random) * NOISE
        return side + torch.randn(side.shape, generator=self.random) * (side.square().mean().sqrt() * level)

    def sides(self, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """What the decoder gets of both quantizers, and what else is to be small."""
        if self.now.name == "autoencoder":
            sides = self.codec.encode(x)
            size = sum(side.square().mean().log().square() for side in sides)
            return [self.with_noise(side) for side in sides], SIZE * size
        if self.now.name == "codes":
            said, commitment = self.codec.quantize(self.codec.encode(x), self.draw_codebooks(), self.random)
            return said, COMMITMENT * commitment
        with torch.no_grad(), torch.autocast("cpu", enabled=False):  # the very codes that will be used
            said, _ = self.codec.quantize(self.codec.encode(x), self.draw_codebooks(), None)
        return said, torch.zeros(())

    def learn(self) -> None:
        rate = self.now.rate_at(self.step) * min(1.0, (self.step + 1) / WARM_UP)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["of_rate"]
        x = self.crops.batch(BATCH)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            sides, latents = self.sides(x)
            made = self.codec.decode(sides)
        loss, parts = self.loss(made.float(), x[:, 0])
        self.optimizer.zero_grad(set_to_none=True)
        (loss + latents).backward()
        learning = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(learning, 5.0)
        if not torch.isfinite(norm):
            raise SystemExit(f"a gradient is not finite: start again, from {self.work}/checkpoint.pt")
        self.optimizer.step()
        parts |= {"latents": latents.item(), "gradient": norm.item()}
        for name, value in parts.items():
            self.means[name] = self.means.get(name, value) * 0.98 + 0.02 * value

    @torch.no_grad()
    def fit_codebooks(self, iterations: int) -> None:
        """Codebooks by k-means on what the encoder, as it is, makes of the speech."""
        seen: list[list[torch.Tensor]] = [[], []]
        for _ in range(FIT_BATCHES):
            for side, x in zip(seen, self.codec.encode(self.crops.batch(BATCH))):
                side.append(x.reshape(-1, x.shape[-1]))
        for side, (_, books) in zip(seen, self.codec.quantizers()):
            books.fit(torch.cat(side), iterations, self.random)

    # --- the schedule --------------------------------------------------------------------------------------------

    def enter(self) -> None:
        if self.now.name == "autoencoder":
            standardize(self.codec, self.crops.batch(4 * BATCH))
        self.optimizer = self.new_optimizer()
        if self.now.name != "autoencoder":
            self.fit_codebooks(6 if self.now.name == "codes" else 20)
        self.entered = True
        self.save()

    def report(self, began: float, steps: int) -> None:
        line = {"stage": self.now.name, "step": self.step, "seconds": round((time.time() - began) / steps, 3)}
        print(json.dumps(line | {k: round(v, 4) for k, v in self.means.items()}), flush=True)

    def run(self) -> None:
        began, steps = time.time(), 0
        while self.stage < len(STAGES):
            if not self.entered:
                self.enter()
            while self.step < self.now.steps:
                self.learn()
                self.step += 1
                steps += 1
                if self.step % REPORT_EVERY == 0:
                    self.report(began, steps)
                if self.step % SAVE_EVERY == 0:
                    self.save()
            self.stage, self.step, self.entered = self.stage + 1, 0, False
            self.save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="what speech.py prepared")
    parser.add_argument("--work", type=Path, required=True, help="where checkpoints go, and where they are looked for")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's choice")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="bf16", help="of activations while learning")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    training = Training(options.speech, options.work, options.seed, options.precision == "bf16")
    training.resume()
    training.run()


if __name__ == "__main__":
    main()
