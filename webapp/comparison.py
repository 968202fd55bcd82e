"""Results side by side: their scores in one table, and their clips over one time axis, of which one is heard.

It is made of results that are kept (`webapp.kept`), so that what differs may be the clip, the prompt or the model.
"""

from collections.abc import Sequence
from urllib.parse import quote

import gradio as gr
from markupsafe import Markup

from core.comparing import Estimate, chances_of_being_highest, difference, estimate
from webapp.handlers import PRIVATE, QUIETLY
from webapp.html import html_table, render, static
from webapp.kept import Kept, KeptResults

LEAST, MOST = 2, 8
_SHOWN = 0.05  # a smaller difference is none in one digit
_SHOW = "() => { document.querySelector('#compared section')?.scrollIntoView({behavior: 'smooth', block: 'nearest'}); }"
_MANY = f"Choose {LEAST} to {MOST} results to compare."
_GONE = "Some of these results are not kept here any more."
_NO_ERROR = (
    "Differences have no range, and nothing is said of what a panel would prefer: the error of this judge is not known."
)
_OTHERS = "Nothing is said of what a panel would prefer: the judges differ, and each is wrong in its own way."
_MEANING = (
    "Chance: how likely it is that a panel of experts would rate this clip highest, by the judge’s error on clips that "
    "it had not learned, taken as normal and independent between clips."
)


def build_comparison(results: KeptResults) -> None:
    """Lay out where results stand side by side; the page's script says which."""

    def compare(chosen: gr.EventData) -> Markup:
        names = [name for name in str(getattr(chosen, "names", "")).split(",") if name]
        return side_by_side(results, names)

    shown = gr.HTML("", elem_id="compared", js_on_load=static("score_compare.js"), apply_default_css=False)
    compared = shown.compare(compare, None, shown, trigger_mode="multiple", **QUIETLY)
    compared.then(None, js=_SHOW, **PRIVATE)


def side_by_side(results: KeptResults, names: Sequence[str]) -> Markup:
    """Show results by their names; nothing for none, and a sentence for what cannot be compared."""
    names = list(dict.fromkeys(names))
    if not names:
        return Markup()
    found = [kept for kept in map(results.find, names[:MOST]) if kept is not None]
    if len(found) < LEAST or len(names) > MOST:
        return render(
            "score_compared.html", said=[_MANY if len(found) == len(names[:MOST]) else _GONE], shared="", clips=[]
        )
    tables, said = _tables(found)
    apart = [part for part in ("asked", "judge") if len({getattr(kept, part) for kept in found}) > 1]
    shared = ", ".join(getattr(found[0], part) for part in ("asked", "judge") if part not in apart)
    longest_s = max(kept.duration_s for kept in found)
    clips = [
        {
            "name": kept.name,
            "about": "; ".join(getattr(kept, part) for part in apart),
            "source": quote(kept.clip),
            "plot": Markup(kept.plot),
            "width": 100 * kept.duration_s / longest_s,
        }
        for kept in found
    ]
    gone = [_GONE] if len(found) < len(names) else []
    return render("score_compared.html", said=[*gone, said], shared=shared, tables=tables, clips=clips)


def _tables(found: Sequence[Kept]) -> tuple[Markup, str]:
    """Return a table for each scale, and what is to be known of them."""
    clips = [f"{number} {kept.name}" for number, kept in enumerate(found, 1)]
    is_one = len({kept.judge for kept in found}) == 1
    level = (found[0].score["intervals"] or {}).get("level", 0.0)
    tables, said = Markup(), _NO_ERROR if is_one else _OTHERS
    for key, title in found[0].titles.items():
        estimates = [_estimate(kept, key) for kept in found]
        heads = ["Clip", "Score", "From the first"]
        columns = [
            clips,
            [_score(kept, key) for kept in found],
            ["–", *(_apart(one, estimates[0]) for one in estimates[1:])],
        ]
        chances = chances_of_being_highest(estimates, level) if is_one and level else None
        if chances:
            heads, said = [*heads, "Chance"], _MEANING
            columns = [*columns, [f"{100 * chance:.0f} %" for chance in chances]]
        tables += html_table(title, heads, list(zip(*columns, strict=True)))
    return tables, said


def _estimate(kept: Kept, key: str) -> Estimate:
    bounds = (kept.score["intervals"] or {}).get(key)
    return estimate(kept.score.get(key), tuple(bounds) if bounds else None)


def _score(kept: Kept, key: str) -> str:
    value, bounds = kept.score.get(key), (kept.score["intervals"] or {}).get(key)
    if value is None:
        return "–"
    return f"{value:.1f} ({bounds[0]:.1f} to {bounds[1]:.1f})" if bounds else f"{value:.1f}"


def _apart(one: Estimate, first: Estimate) -> str:
    by, reach = difference(one, first)
    if by is None:
        return "–"
    points = f"{by:+.1f}" if abs(by) >= _SHOWN else "0.0"
    return points if reach is None else f"{points} ± {reach:.1f}"
