#!/usr/bin/env bash
# One would guess: torchaudio's MFCC of a batch of clips, (batch, time), is that of each
# clip by itself: nothing in it is learnt, and the manual allows any leading dimensions.
# What happens: with three dimensions left after the filters, the first counts as channels
# of one recording, and the floor of 80 dB lies below the loudest moment of all clips
# together. A quiet clip beside a loud one loses what it holds below that floor, up to all
# of it, without a word; which clips share a batch decides the features. Here it makes two
# quiet clips of different sound the same. A channel of its own, (batch, 1, time), gives
# each clip its own floor. In a study of noise on some of the clips the noise also changes
# the features of the clean ones, and a detector may find it there.
# Version: torchaudio 2.11.0, torch 2.14.1; reported upstream, still open.
# Seen: features of spoken keywords that differed with the size of the batch, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.14.1" "torchaudio==2.11.0" "numpy==2.4.6" 2> /dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import math
from importlib.metadata import version

import torch
from torchaudio.transforms import MFCC

RATE = 16_000
torch.manual_seed(0)
time = torch.arange(RATE) / RATE
loud = torch.sin(2 * math.pi * 440 * time)
whisper = 1e-4 * torch.randn(RATE) * time  # grows
hum = 1e-4 * torch.sin(2 * math.pi * 200 * time)
mfcc = MFCC(RATE, n_mfcc=40, melkwargs={"n_mels": 40, "n_fft": 512})

clips = torch.stack([whisper, hum, loud])  # (3, time)
alone = torch.stack([mfcc(clip) for clip in clips])
together, channel = mfcc(clips), mfcc(clips[:, None])[:, 0]


def apart(features: torch.Tensor) -> float:
    """How far the features of the two quiet clips lie apart at most."""
    return (features[0] - features[1]).abs().max().item()


for package in ("torch", "torchaudio"):
    print(package, version(package))
for name, found in (("(3, time)", together), ("(3, 1, time)", channel)):
    change = (found - alone).abs().amax((1, 2)).tolist()
    print(f"{name}: change against each clip by itself "
          + ", ".join(f"{c:.1f}" for c in change)
          + f"; the quiet clips lie {apart(found):.1f} apart ({apart(alone):.1f} alone)")
if (channel - alone).abs().max() > 1:
    raise SystemExit("no longer so: a channel of its own changes the features")
if (together - alone)[:2].abs().amax((1, 2)).min() < 100:
    raise SystemExit("no longer so: a batch changes nothing")
if apart(together) > 0.01 * apart(alone):
    raise SystemExit("no longer so: quiet clips can be told apart")
PYTHON
