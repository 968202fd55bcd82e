"""What the Study tab shows of a study, as HTML: an `annotation.results.desk.Overview` in words and tables.

Conventions: whatever somebody gave (names, comments, reasons) passes `html.escape`. Intervals are 95 %; what
so few ratings cannot tell is a dash.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any

from annotation.results.changes import Change
from annotation.results.desk import Overview
from annotation.results.ratings import Results, compare_systems, moved_clips, standing
from annotation.results.status import shown_time, where_is
from core.scales import SCALE_TITLES, SCALES
from webapp.html_table import html_table
from webapp.study_plots import download, systems_plot

_COMMANDS = """python -m annotation create NAME
python -m annotation ingest NAME MANIFEST"""
_SIMULATED = "The ratings of this study are not those of experts."
_SHORT = {"musical_impression": "MI", "textual_alignment": "TA"}
_RATER_FIGURES = {"bias": "bias", "inconsistency": "inconsistency", "correlation_with_others": "r"}


def no_study() -> str:
    """Show how a study comes to be."""
    return (
        '<section class="me-note"><h2>There is no study yet</h2><p>A study is made from a list of clips with '
        "their prompts and systems, on the machine that serves this page:</p>"
        f"<pre><code>{_COMMANDS}</code></pre><p>Then choose it here, and invite raters. The README says what "
        "stands in the list and which rules a study can have.</p></section>"
    )


def heading(found: Overview) -> str:
    """Show how far a study is, and what stands in its way."""
    so_far, protocol = found.status["progress"], found.status["protocol"]
    demo = (
        '<p class="me-notice">The ratings of this study are not those of experts.</p>' if found.demo else ""
    )
    hindrances = "".join(f"<li>{escape(sentence)}</li>" for sentence in so_far["shortage"])
    done = so_far["clips"] > 0 and so_far["clips_done"] == so_far["clips"]
    return (
        f'<p class="me-announce" role="status">{escape(found.status["study"])}: '
        f"{so_far['clips_done']} of {so_far['clips']} clips done.</p>{demo}"
        f"{_bar('Clips', so_far['clips_done'], so_far['clips'])}"
        f"{_bar('Ratings', so_far['ratings_valid'], so_far['ratings_needed'])}"
        f'<p class="me-fine">{"Done: every" if done else "Every"} clip needs {protocol["raters_per_clip"]} '
        f"valid ratings by different raters. As of {shown_time(found.status['at'])}.</p>"
        + (f'<ul class="me-warnings" aria-label="What is missing">{hindrances}</ul>' if hindrances else "")
    )


def _bar(name: str, done: int, needed: int) -> str:
    share = 100 * done / needed if needed else 0.0
    return (
        f'<div class="me-tally"><b>{name}</b><span>{done:,} of {needed:,}</span><div role="progressbar"'
        f' aria-label="{name}" aria-valuenow="{done}" aria-valuemin="0" aria-valuemax="{needed}">'
        f'<i style="width:{share:.1f}%"></i></div></div>'
    )


def progress(found: Overview) -> str:
    """Show who is where, what is in hand, and which clips did not play."""
    so_far = found.status["progress"]
    raters = [
        (
            rater["rater"],
            where_is(rater),
            rater["batches_valid"],
            rater["batches_excluded"],
            rater["ratings"],
            shown_time(rater["last_rating_at"]) if rater["last_rating_at"] else "–",
            ", ".join(rater["signs"]) or "–",
        )
        for rater in found.status["raters"]
    ]
    counts = {
        "In batches that have not ended": so_far["ratings_pending"],
        "Being listened to": so_far["ratings_leased"],
        "More than a clip needs": so_far["ratings_surplus"],
    }
    facts = {f"{name}": f"{count:,} ratings" for name, count in counts.items()} | {
        "Anchors": f"{so_far['anchors']}; with {so_far['anchors_needed']} no rater would hear one twice",
        "Practice clips": f"{so_far['training']}; the rules ask for {found.status['protocol']['training']}",
    }
    heads = ("Rater", "Where", "Valid batches", "Excluded", "Ratings", "Last rating", "Signs")
    problems = [
        (
            problem["rater"],
            problem["source_file"],
            problem["comment"] or "–",
            shown_time(problem["reported_at"]),
        )
        for problem in reversed(found.status["problems"])
    ]
    return (
        html_table("Raters", heads, raters, "Nobody is invited yet.")
        + _facts(facts)
        + html_table("Clips that did not play", ("Rater", "Clip", "Comment", "When"), problems)
    )


def results(found: Overview) -> str:
    """Show the systems' scores: a plot for each scale, then one table."""
    systems = found.results.systems
    if systems.empty:
        return '<p class="me-quiet">No rating is valid yet: a rating counts when its batch has ended.</p>'
    study, plots = found.status["study"], ""
    for scale in SCALES:
        svg = systems_plot(systems, scale)
        plots += f"<figure>{svg}{download(svg, f'{study}-{scale}')}</figure>"
    rows = [
        (row["system"], row["n_clips"], row["n_ratings"], *(standing(row, scale) for scale in SCALES))
        for row in systems.to_dict("records")
    ]
    heads = ("System", "Clips", "Ratings", *(SCALE_TITLES[scale] for scale in SCALES))
    return f'<div class="me-plots">{plots}</div>' + html_table(
        "Systems: MOS [95 % interval] rank", heads, rows
    )


def screening(found: Overview) -> str:
    """Show what the hidden checks did, and the log of what was left out and put back."""
    checks = found.status["checks"]
    expected = checks["expected_false_alarms"]
    rules = ", ".join(f"{rule}: {count}" for rule, count in sorted(checks["excluded_by"].items()))
    signs = [
        (rater["rater"], ", ".join(rater["signs"])) for rater in found.status["raters"] if rater["signs"]
    ]
    log = [
        (
            f"{entry['action'].capitalize()} {_target(entry)}",
            entry["rule"],
            entry["reason"],
            "; ".join(_figures(json.loads(entry["evidence"]))) or "–",
            entry["author"],
            f"{entry['at']:%Y-%m-%d %H:%M} UTC",
        )
        for entry in reversed(found.log.to_dict("records"))
    ]
    return (
        f"<p>Batches that have ended: {checks['batches_ended']}; excluded: {checks['batches_excluded']}"
        f"{f' ({rules})' if rules else ''}. By chance, a good rater fails {expected['either']:.1%} of "
        f"batches: {expected['anchor']:.1%} by an anchor, {expected['duplicate']:.1%} by a duplicate.</p>"
        + html_table("Signs of not listening; they exclude nobody", ("Rater", "Signs"), signs)
        + html_table(
            "Log, the latest first",
            ("What", "Rule", "Reason", "Figures", "By", "When"),
            log,
            "Nothing was excluded so far.",
        )
    )


def _target(entry: Mapping[str, Any]) -> str:
    return str(entry["rater"]) if entry["batch"] == "all" else f"batch {entry['batch']} of {entry['rater']}"


def _figures(evidence: Mapping[str, Any]) -> Iterator[str]:
    """Put the figures of a failed check into words."""
    for anchor in evidence.get("anchors", ()):
        said = next(f"{_SHORT[scale]} {anchor[scale]}" for scale in SCALES if scale in anchor)
        yield f"anchor at {anchor['position']} got {said}; failed below {anchor['limit']:g}"
    for twice in evidence.get("duplicates", ()):
        first, second = twice["positions"]
        pairs = ", ".join(f"{_SHORT[scale]} {twice[scale][0]} then {twice[scale][1]}" for scale in SCALES)
        yield f"clip at {first} and {second} got {pairs}; {twice['tolerance']:g} apart is allowed"
    if "rated" in evidence:
        yield f"clips rated: {evidence['rated']}"


def comparison(change: Change, before: Results, after: Results) -> str:
    """Show what a change would do to the systems' scores and ranks."""
    ratings = [int(found.clips["n_ratings"].sum()) for found in (before, after)]
    systems = compare_systems(before, after).to_dict("records")
    tables = ""
    for scale in SCALES:
        rows = [(row["system"], standing(row, scale), standing(row, scale, "_after")) for row in systems]
        table = html_table(
            f"{SCALE_TITLES[scale]}: MOS [95 % interval] rank", ("System", "Now", "Then"), rows
        )
        tables += f'<div>{table}<p class="me-fine">{moved_clips(before, after, scale)}.</p></div>'
    return (
        f'<h3>{change.action.capitalize()} {escape(change.what)}: what would change</h3><p role="status">'
        f"Valid ratings: {ratings[0]:,} now, {ratings[1]:,} then. Nothing is changed yet.</p>"
        f'<div class="me-plots">{tables}</div>'
    )


def reliability(found: Overview) -> str:
    """Show how far raters agree with each other and with themselves."""
    report = found.reliability
    if not report["clips"]:
        return '<p class="me-quiet">No rating is valid yet: there is nothing to compare.</p>'
    scales = [report["scales"][scale] for scale in SCALES]
    rows = [(meaning, *(figure(scale) for scale in scales)) for meaning, figure in _FIGURES.items()]
    raters = [
        (rater["rater"], rater["ratings"], *_of_rater(rater), ", ".join(rater["flags"]) or "–")
        for rater in report["raters"]
    ]
    of_scale = (f"{short} {name}" for short in _SHORT.values() for name in _RATER_FIGURES.values())
    return (
        html_table("Both scales", ("Figure", *SCALE_TITLES.values()), rows)
        + html_table("Raters", ("Rater", "Ratings", *of_scale, "Signs"), raters)
        + '<p class="me-fine">MI: musical impression; TA: textual alignment. Bias: points that a rater gives '
        "above the others; inconsistency: standard deviation of their own answers (both by ITU-T P.910); r: "
        "correlation with the mean of the others.</p>"
    )


_FIGURES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "Mean of all clips": lambda scale: _number(scale["mean"]),
    "95 % interval of the middling clip: its MOS ±": lambda scale: _number(scale["interval_half_width"]),
    "Krippendorff’s alpha (agreement: 0 chance, 1 perfect)": lambda scale: _number(scale.get("alpha")),
    "Intraclass correlation of one rating": lambda scale: _number(scale.get("icc_one_rating")),
    "Intraclass correlation of a clip’s MOS (how well it would come again with other raters)": lambda scale: (
        _number(scale.get("icc_mos"))
    ),
    "Change from batch to batch, in points": lambda scale: _change(scale, "batch"),
    "Change from place to place in a batch, in points": lambda scale: _change(scale, "position"),
    "Clips heard twice": lambda scale: str(scale["repeats"]["pairs"] if scale["repeats"] else 0),
    "The two answers differ by, on average": lambda scale: _number(
        (scale["repeats"] or {}).get("mean_difference")
    ),
}


def _of_rater(rater: Mapping[str, Any]) -> Iterator[str]:
    for scale in SCALES:
        for name in _RATER_FIGURES:
            yield _number((rater[scale] or {}).get(name))


def _change(scale: Mapping[str, Any], step: str) -> str:
    found = scale.get("change_per", {}).get(step)
    return f"{found['slope']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]" if found else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _facts(facts: Mapping[str, str]) -> str:
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items())
    return f'<dl class="me-facts">{listed}</dl>'
