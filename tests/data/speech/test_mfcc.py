"""MFCCs: equal to librosa's on signals that anybody can make again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlap.data.speech.mfcc import PARAMETERS, mfcc, pad_frames

ROWS, COLUMNS = [0, 1, 2, 13, 39], [0, 1, 15, 16, 31]

# librosa 0.11.0 on float64, librosa.feature.mfcc(y=y, sr=16000, n_mfcc=40): those rows
# and columns, and the root of the sum of all squares
LIBROSA = {
    "chirp": (
        [
            [-584.466, -536.855, -552.757, -556.817, -617.838],
            [57.871, 112.709, -70.225, -71.198, -14.453],
            [46.734, 69.275, -13.341, 0.179, 13.961],
            [-3.851, -11.883, -1.649, 40.628, 4.889],
            [1.581, 1.061, -0.194, 5.337, -7.672],
        ],
        3338.849,
    ),
    "noise": (
        [
            [-325.112, -285.207, -290.955, -289.762, -309.538],
            [-5.517, 0.067, -5.831, -7.410, -3.240],
            [-3.287, -3.173, 2.770, -2.263, -1.516],
            [-0.090, 0.447, -0.584, 1.456, -6.839],
            [1.613, -2.626, 2.035, 2.436, -3.380],
        ],
        1636.107,
    ),
    "click": (
        [
            [-1024.649, -1024.649, -136.057, -120.012, -1024.649],
            [0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, -0.001, -0.001, 0.0],
            [0.0, 0.0, 0.002, 0.002, 0.0],
        ],
        5442.708,
    ),
}
TOLERANCE = {torch.float64: 2e-3, torch.float32: 5e-3}


def signals() -> dict[str, np.ndarray]:
    """A chirp from 100 to 7100 Hz, quiet noise, and one sample that is not zero."""
    t = np.arange(16_000) / 16_000
    chirp = 0.5 * np.sin(2 * np.pi * (100 * t + 3500 * t**2)) * np.hanning(16_000)
    state, noise = 1, []
    for _ in range(16_000):
        state = (1664525 * state + 1013904223) % 2**32
        noise.append(state / 2**31 - 1)
    click = np.zeros(16_000)
    click[8000] = 0.9
    return {"chirp": chirp, "noise": 0.01 * np.array(noise), "click": click}


@pytest.fixture(scope="module")
def waves() -> torch.Tensor:
    return torch.from_numpy(np.stack(list(signals().values())))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equal_to_librosa(waves, dtype):
    features = mfcc(waves.to(dtype))
    assert features.shape == (3, 1, 40, 32) and features.dtype == dtype
    for mine, (table, norm) in zip(features[:, 0], LIBROSA.values(), strict=True):
        theirs = torch.tensor(table, dtype=dtype)
        some = mine[ROWS][:, COLUMNS]
        assert (some - theirs).abs().max() < TOLERANCE[dtype]
        assert mine.norm().item() == pytest.approx(norm, abs=0.05)


@pytest.mark.parametrize(
    "change",
    [
        {"melkwargs": PARAMETERS["melkwargs"] | {"pad_mode": "reflect"}},
        {"melkwargs": PARAMETERS["melkwargs"] | {"mel_scale": "htk"}},
        {"melkwargs": PARAMETERS["melkwargs"] | {"norm": None}},
        {"log_mels": True},
    ],
    ids=["reflect", "htk", "no norm", "natural logarithm"],
)
def test_the_reference_tells_other_options_apart(waves, change):
    import torchaudio

    other = torchaudio.transforms.MFCC(16_000, **(PARAMETERS | change)).double()
    features = other(waves.unsqueeze(1))[:, 0]
    theirs = torch.tensor([table for table, _ in LIBROSA.values()])
    assert (features[:, ROWS][..., COLUMNS] - theirs).abs().max() > 1


def test_each_clip_has_its_own_floor(waves):
    """A loud clip in the batch must not lift the floor of a quiet one."""
    quiet = 1e-4 * waves[:1].float()
    loud = 0.9 * torch.ones(1, 16_000)
    together = mfcc(torch.cat([loud, quiet]))
    assert torch.allclose(together[1:], mfcc(quiet), atol=1e-3)
    import torchaudio

    naive = torchaudio.transforms.MFCC(16_000, **PARAMETERS)(torch.cat([loud, quiet]))
    assert (naive[1] - mfcc(quiet)[0, 0]).abs().max() > 10  # the trap is there


def test_batches_change_nothing(waves):
    five = torch.cat([waves, waves.flip(1)[:2]]).float()
    whole = mfcc(five)
    for batch in (1, 2, 5):
        assert torch.allclose(mfcc(five, batch=batch), whole, atol=1e-3)


def test_frames_are_padded_with_zeros(waves):
    own, padded = mfcc(waves.float()), mfcc(waves.float(), frames=130)
    assert padded.shape == (3, 1, 40, 130)
    assert torch.equal(padded[..., :32], own) and not padded[..., 32:].any()
    assert torch.equal(pad_frames(own, 130), padded)
    assert mfcc(waves[:, :8000]).shape[-1] == 16
    silence = mfcc(torch.zeros(1, 16_000))
    assert bool(silence.isfinite().all())


def test_what_is_refused(waves):
    with pytest.raises(ValueError, match="32 frames; frames=31 is too few"):
        mfcc(waves, frames=31)
    with pytest.raises(ValueError, match="32 frames; frames=8 is too few"):
        pad_frames(torch.zeros(1, 1, 40, 32), 8)
    with pytest.raises(ValueError, match=r"waves must have shape \(N, T\)"):
        mfcc(waves.unsqueeze(1))
    with pytest.raises(ValueError, match="waves holds NaN"):
        mfcc(torch.full((1, 16_000), torch.nan))
