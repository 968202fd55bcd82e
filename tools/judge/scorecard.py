"""What a judge hears, measured on material that it did not learn from, beside the survey (`core.people`).

damaged, mistakes    in what share of the pairs of the part `check` the worse clip gets less impression, by kind and
                     by strength; in what share of strong copies that are damaged once more; and in what share of
                     damaged copies of the reference clips
sounds               the highest impression of what is no music, and the lowest of recordings of people
strangeness          how much of what is no music is said to be none, and how much music
prompts              alignment on clips of two text-to-music models: whether a clip's own prompt is above the
                     other prompts, the first of all, and whether the clip is above other prompts' clips
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import librosa
import numpy as np
from numpy.typing import NDArray

from core.errors import SilenceError
from core.scales import MUSICAL_IMPRESSION, TEXTUAL_ALIGNMENT
from core.scorer import Item, Scorer
from core.scores import Score, Unscored
from tools.judge import damages
from tools.judge.lessons import rows_of
from tools.judge.sounds import RATE_HZ, Samples

ANCHORS, MODELS = "audio/anchors/*.ogg", "audio/ttm"
STRENGTHS, REFERENCE_S = ("mild", "strong"), 20.0
OLD_DAMAGES, DAMAGED_SEED = ("noise", "clipping", "dropouts", "dull"), 5  # what recordings had before there were models

Values = Mapping[Path, float | None]


def measure(scorer: Scorer, material: Path, reference: Path, prompts: Path | None) -> Iterator[str]:
    """Yield the lines of a report."""
    recordings, by_models = sorted(reference.glob(ANCHORS)), sorted((reference / MODELS).glob("*.flac"))
    yield from _pairs(scorer, material)
    yield from _damaged(scorer, [*recordings, *by_models])
    anchors, generated = _impressions(scorer, recordings), _impressions(scorer, by_models)
    sounds = {row["prompt"]: row["audio_path"] for row in rows_of(material, "sounds", "check")}
    files = {material / row["audio_path"]: row["prompt"] for row in rows_of(material, "sounds", "check")}
    by_kind: dict[str, list[float]] = defaultdict(list)
    for file, value in _impressions(scorer, [*files]).items():
        if value is not None:
            by_kind[files[file]].append(value)
    lowest = min(value for value in anchors.values() if value is not None)
    for kind in sounds:
        said = f"{max(by_kind[kind]):.2f} at most" if by_kind[kind] else "silent, no score"
        yield f"no music, {kind}: {said}"
    music = [*recordings, *by_models]
    music += [material / row["file"] for row in rows_of(material, "clips", "check")]
    for name, clips in (("no music", [*files]), ("music", music)):
        strange = [_is_strange(score) for score in _scores(scorer, clips).values() if score]
        yield f"said to be no music, of {len(strange)} clips of {name}: {np.mean(strange):.1%}"
    captions = [row["prompt"] for part in ("build", "check") for row in rows_of(material, "captions", part)]
    little = np.mean([scorer.checkpoint.tower.read(caption).of_music != "enough" for caption in captions])
    yield f"said to say little of music, of {len(captions)} captions: {little:.1%}"
    below = np.mean([value < lowest for values in by_kind.values() for value in values])
    yield f"recordings of people: {lowest:.2f} at least; {below:.0%} of what is no music lies below"
    ace = _impressions(scorer, [material / row["file"] for row in _generated(material)])
    for name, values in (("recordings of people", anchors), ("ACE-Step 1.5", ace), ("older models", generated)):
        yield f"mean impression of {name}: {np.mean([value for value in values.values() if value is not None]):.2f}"
    yield from _alignment(scorer, reference / MODELS, prompts)


def _generated(material: Path) -> list[dict[str, str]]:
    return [row for row in rows_of(material, "clips", "check") if row["kind"] == "generated"]


def _scores(scorer: Scorer, files: Sequence[Path]) -> dict[Path, Score | None]:
    """Scores of files; None where the judge would hear nothing."""
    scores: dict[Path, Score | None] = {}
    for file, result in zip(files, scorer.score_many(Item(file, "") for file in files), strict=True):
        if isinstance(result, Unscored) and not isinstance(result.error, SilenceError):
            raise result.error
        scores[file] = result if isinstance(result, Score) else None
    return scores


def _impressions(scorer: Scorer, files: Sequence[Path]) -> Values:
    scores = _scores(scorer, files)
    return {file: None if score is None else score[MUSICAL_IMPRESSION.key] for file, score in scores.items()}


def _is_strange(score: Score) -> bool:
    return any(warning.code == "no_music" for warning in score.warnings)


def _pairs(scorer: Scorer, material: Path) -> Iterator[str]:
    for table in ("damaged", "damaged_twice", "mistakes"):
        rows = rows_of(material, table, "check")
        files = dict.fromkeys(material / row[f"{side}_file"] for row in rows for side in ("better", "worse"))
        values = _impressions(scorer, [*files])
        heard: dict[str, list[bool]] = defaultdict(list)
        for row in rows:
            better, worse = (values[material / row[f"{side}_file"]] for side in ("better", "worse"))
            if better is not None and worse is not None:
                strength = "all strong" if float(row["weight"]) == 1.0 else "all mild, or strong beside mild"
                for group in (*([] if table == "damaged_twice" else [row["kind"]]), strength, "all kinds"):
                    heard[group].append(better > worse)
        for group, lower in heard.items():
            yield f"{table}, {group}: lower in {np.mean(lower):.1%} of {len(lower)}"


def _damaged(scorer: Scorer, files: Sequence[Path]) -> Iterator[str]:
    """Damage clips as the material is, and hear whether each copy is lower than its original."""
    random = np.random.default_rng(DAMAGED_SEED)
    heard: dict[str, list[bool]] = defaultdict(list)
    named = [(kind, strength) for kind in damages.DAMAGES for strength in (0, 1)]
    for file in files:
        sound, _ = librosa.load(file, sr=RATE_HZ, duration=REFERENCE_S)
        copies = [damages.damage(sound, kind, strength, random) for kind, strength in named]
        plain, *others = _heard(scorer, [sound, *copies])
        for (kind, strength), other in zip(named, others, strict=True):
            groups = [kind, "all", *([" or ".join(OLD_DAMAGES)] if kind in OLD_DAMAGES else [])]
            for group in groups:
                heard[f"{group}, {STRENGTHS[strength]}"].append(plain > other)
    for group, lower in heard.items():
        yield f"damaged reference clips, {group}: lower in {np.mean(lower):.1%} of {len(lower)}"


def _heard(scorer: Scorer, sounds: Sequence[Samples]) -> Iterator[float]:
    """The impressions of sounds, none of them silent."""
    for result in scorer.score_many(Item((sound, RATE_HZ), "") for sound in sounds):
        if isinstance(result, Unscored):
            raise result.error
        value = result[MUSICAL_IMPRESSION.key]
        assert value is not None  # it asks for no prompt
        yield value


def _alignment(scorer: Scorer, folder: Path, fresh: Path | None) -> Iterator[str]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    own = {row["file"]: _number(row["file"]) for row in rows}
    yield _ranked(scorer, folder, own, {_number(row["file"]): row["prompt"] for row in rows}, "prompts as written")
    if fresh is None:
        return
    with fresh.open(encoding="utf-8", newline="") as file:
        others: dict[str, list[str]] = defaultdict(list)
        for row in csv.DictReader(file):
            others[row["prompt_number"]].append(row["fresh_prompt"])
    for number in range(min(map(len, others.values()))):
        said = {key: prompts[number] for key, prompts in others.items()}
        yield _ranked(scorer, folder, own, said, f"in other words, {number + 1}")


def _number(file: str) -> str:
    return Path(file).stem.rpartition("_")[2]


def _ranked(scorer: Scorer, folder: Path, own: Mapping[str, str], prompts: Mapping[str, str], title: str) -> str:
    keys = [*prompts]
    values = np.array([_alignments(scorer, folder / file, [prompts[key] for key in keys]) for file in own])
    mine = np.array([keys.index(key) for key in own.values()])
    right = values[np.arange(len(own)), mine]
    is_other = np.arange(len(keys)) != mine[:, None]
    above = (right[:, None] > values)[is_other].mean()
    first = int((values.argmax(axis=1) == mine).sum())
    others = [
        right[clip] > values[other, mine[clip]]
        for clip in range(len(own))
        for other in range(len(own))
        if mine[other] != mine[clip]
    ]
    ranks = f"first {first} of {len(own)}, clip above another {np.mean(others):.0%}"
    return f"{title}: own prompt above another {above:.0%}, {ranks}"


def _alignments(scorer: Scorer, file: Path, prompts: Sequence[str]) -> NDArray[np.float64]:
    """Alignments of a clip with prompts; the lowest that can be where the judge says none."""
    results = scorer.score_many(Item(file, prompt) for prompt in prompts)
    values = (result[TEXTUAL_ALIGNMENT.key] if isinstance(result, Score) else None for result in results)
    return np.array([0.0 if value is None else value for value in values])
