"""The demo judge's scorecard, on data that it was not trained on.

Three parts. *Simulated*: clips of unseen simulated systems, rated by an unseen simulated panel. *Faults*:
which faults of unseen composed pieces the judge hears, one at a time. *Real*: clips and recordings from a
folder of reference audio, where the truth is only an order: a damaged copy should get less impression than
its original, and a clip's own prompt more alignment than another clip's. Everything goes through the public
:class:`core.scorer.Scorer`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import signal
from tqdm import tqdm

from core.audio import read_clip
from core.errors import MusicEvalError
from core.evaluation import Predictions, measure, predicted
from core.metrics import METRICS
from core.scales import MUSICEVAL, keys
from core.scorer import Scorer
from tools.demo_judge import faults, panel
from tools.demo_judge.composer import compose, draw_attributes
from tools.demo_judge.rendering import render
from tools.demo_judge.timbres import SAMPLE_RATE_HZ, Samples

SEED = 90_210  # never used for training
RESAMPLES = 1000

Signal = NDArray[np.float64]


def simulated(scorer: Scorer, systems: int = 16, clips_each: int = 30, duration_s: float = 15.0) -> dict[str, Any]:
    """Agreement with an unseen simulated panel."""
    clips = list(panel.simulate(systems, clips_each, SEED, duration_s))
    scores = [
        scorer.score((clip.sound(), SAMPLE_RATE_HZ), clip.prompt)
        for clip in tqdm(clips, "simulated systems", unit="clip")
    ]
    result: dict[str, Any] = {"n_systems": systems, "n_clips": len(clips)}
    table = pd.DataFrame({"system_id": [clip.system_id for clip in clips]})
    for column, key in enumerate(keys(MUSICEVAL)):
        table[key] = [clip.mos[column] for clip in clips]
        table[predicted(key)] = [score[key] for score in scores]
    levels = measure(Predictions(table, MUSICEVAL)).to_json()
    for key in keys(MUSICEVAL):
        errors = (table[key] - table[predicted(key)]).abs()
        result[key] = {level: of[key] for level, of in levels.items()}
        result[key]["absolute_error_90"] = float(errors.quantile(0.9))
    return result


def heard_faults(scorer: Scorer, pieces: int = 24, severity: float = 0.7) -> dict[str, Any]:
    """Share of unseen pieces of 10 s where a copy with one fault gets less impression than the clean one."""
    shares: dict[str, list[bool]] = {name: [] for name in faults.NAMES}
    for seed in tqdm(range(pieces), "faults", unit="piece"):
        composition = compose(draw_attributes(np.random.default_rng([SEED, seed])), 10.0, _random(seed))
        clean = _impression(scorer, render(composition, _random(seed)))
        for name, heard in shares.items():
            notes = faults.spoil_notes(composition, {name: severity}, _random(seed))
            broken = faults.spoil_sound(render(notes, _random(seed)), {name: severity}, _random(seed))
            heard.append(_impression(scorer, broken) < clean)
    return {"n_pieces": pieces, "severity": severity, **{name: float(np.mean(row)) for name, row in shares.items()}}


def _random(seed: int) -> np.random.Generator:
    return np.random.default_rng([SEED, seed, 1])


def _impression(scorer: Scorer, sound: Samples) -> float:
    return scorer.score((sound, SAMPLE_RATE_HZ), "music")["musical_impression"]


def real(scorer: Scorer, folder: Path) -> dict[str, Any]:
    """Order on real audio."""
    manifest = folder / "audio" / "ttm" / "manifest.csv"
    if not manifest.is_file():
        raise MusicEvalError(f"{folder.name!r} holds no audio/ttm/manifest.csv: give the folder of reference data.")
    prompts = pd.read_csv(manifest).set_index("file")["prompt"].to_dict()
    made = [manifest.parent / name for name in prompts]
    recordings = sorted(path for path in (folder / "audio" / "anchors").iterdir() if path.suffix != ".txt")
    return {
        "damaged": _damaged(scorer, [*made, *recordings]),
        "prompts": own_prompts(scorer, {manifest.parent / name: prompt for name, prompt in prompts.items()}),
    }


def _damaged(scorer: Scorer, paths: list[Path]) -> dict[str, Any]:
    wins: dict[str, list[bool]] = {name: [] for name in DAMAGES}
    for path in tqdm(paths, "damaged copies", unit="clip"):
        clip = read_clip(path)
        samples = clip.samples.astype(np.float64)
        whole = scorer.score((samples, clip.sample_rate_hz), "music")["musical_impression"]
        for name, damage in DAMAGES.items():
            broken = damage(samples, clip.sample_rate_hz, np.random.default_rng(SEED))
            wins[name].append(scorer.score((broken, clip.sample_rate_hz), "music")["musical_impression"] < whole)
    table = np.array(list(wins.values()))  # damage, clip
    return {
        "n_clips": len(paths),
        "n_pairs": int(table.size),
        "share": float(table.mean()),
        "share_ci95": cluster_interval(table.T),
        "by_damage": {name: float(np.mean(row)) for name, row in wins.items()},
    }


def own_prompts(scorer: Scorer, prompts: Mapping[Path, str]) -> dict[str, Any]:
    distinct = sorted(set(prompts.values()))
    wins: dict[str, list[bool]] = {prompt: [] for prompt in distinct}
    for path, own in tqdm(prompts.items(), "prompts", unit="clip"):
        fit = {prompt: scorer.score(path, prompt)["textual_alignment"] for prompt in distinct}
        wins[own] += [fit[own] > fit[other] for other in distinct if other != own]
    table = np.array(list(wins.values()))  # prompt, pair
    return {
        "n_prompts": len(distinct),
        "n_pairs": int(table.size),
        "share": float(table.mean()),
        "share_ci95": cluster_interval(table),
    }


def cluster_interval(table: NDArray[np.bool_]) -> list[float]:
    """95 % bootstrap interval of a share; whole rows are resampled, since pairs of a clip hang together."""
    random = np.random.default_rng(SEED)
    shares = [table[random.integers(0, len(table), len(table))].mean() for _ in range(RESAMPLES)]
    return [float(value) for value in np.percentile(shares, [2.5, 97.5])]


def rms(samples: Signal) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def _white_noise(samples: Signal, _rate_hz: int, random: np.random.Generator) -> Signal:
    """White noise at 0 dB signal-to-noise ratio."""
    noise: Signal = random.standard_normal(len(samples)) * rms(samples)
    return samples + noise


def _hard_clipping(samples: Signal, _rate_hz: int, _random: np.random.Generator) -> Signal:
    """Twenty decibels over full scale, cut off there."""
    clipped: Signal = np.clip(10.0 * samples / np.abs(samples).max(), -1.0, 1.0)
    return clipped


def _low_pass(samples: Signal, rate_hz: int, _random: np.random.Generator) -> Signal:
    """Nothing above 1 kHz."""
    sos = signal.butter(8, 1000.0, fs=rate_hz, output="sos")
    return np.asarray(signal.sosfilt(sos, samples))


def _drop_outs(samples: Signal, rate_hz: int, random: np.random.Generator) -> Signal:
    """A gap of 150 ms somewhere in every 600 ms."""
    broken, period, gap = samples.copy(), int(0.6 * rate_hz), int(0.15 * rate_hz)
    for start in range(0, len(samples), period):
        place = start + int(random.integers(0, period - gap))
        broken[place : place + gap] = 0.0
    return broken


DAMAGES: Mapping[str, Callable[[Signal, int, np.random.Generator], Signal]] = {
    "white noise, 0 dB SNR": _white_noise,
    "hard clipping, 20 dB over": _hard_clipping,
    "low-pass, 1 kHz": _low_pass,
    "drop-outs, a quarter of the time": _drop_outs,
}


def report(card: Mapping[str, Any]) -> str:
    """The scorecard as a Markdown table and two sentences."""
    lines = ["| scale | level | n | MSE | LCC | SRCC | KTAU |", "|---|---|---|---|---|---|---|"]
    for scale in MUSICEVAL:
        for level in ("utterance", "system"):
            row = card["simulated"][scale.key][level]
            cells = (f"{row[m]:.3f} [{row[f'{m}_ci95'][0]:.2f}, {row[f'{m}_ci95'][1]:.2f}]" for m in METRICS)
            lines.append(f"| {scale.title.lower()} | {level} | {row['n']} | {' | '.join(cells)} |")
    if "faults" in card:
        heard = card["faults"]
        each = "; ".join(f"{name}: {heard[name]:.0%}" for name in faults.NAMES)
        lines += ["", f"Copy with one fault gets less impression, of {heard['n_pieces']} composed pieces: {each}."]
    if "real" in card:
        lines += ["", *_real_lines(card["real"])]
    return "\n".join(lines)


def _real_lines(result: Mapping[str, Any]) -> list[str]:
    damaged, prompts = result["damaged"], result["prompts"]
    each = "; ".join(f"{name}: {share:.0%}" for name, share in damaged["by_damage"].items())
    return [
        f"Real audio, damaged copy gets less impression: {_share(damaged)} of {damaged['n_pairs']} pairs ({each}).",
        f"Real audio, own prompt gets more alignment: {_share(prompts)} of {prompts['n_pairs']} pairs "
        f"({prompts['n_prompts']} prompts).",
    ]


def _share(result: Mapping[str, Any]) -> str:
    low, high = result["share_ci95"]
    return f"{result['share']:.1%} [95 % interval {low:.0%} to {high:.0%}]"
