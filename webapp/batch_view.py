"""What the page *Several clips* shows of a job: how far it is, its systems and its rows, and the tables to take away.

Numbers are rounded where they are shown and nowhere before.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from core.batch.leaderboard import LEAST_CLIPS, LEAST_SHARE
from core.batch.manifest import FORMATS, OK, Cells, table_columns, write_records
from core.batch.paired import LEAST_PROMPTS, Comparison, Pair, compare_systems
from core.scales import keys
from core.warnings import show_time
from webapp.html import csv_address, html_table, render
from webapp.list_runs import CLIPS_AT_ONCE, ListRun
from webapp.system_plot import download, systems_plot

QUIET_WARNINGS = ("demo_model", "no_range")  # the page says it already: told, but not as an alarm
_NO_JOB = {"job": "", "title": "", "seen": "", "n_before": 0, "message": "", "may_try_again": False}
_MOST_GOING_ON = 60  # rows that are shown of a list that is being scored: they are sent again each second


@contextmanager
def tables(run: ListRun) -> Iterator[Mapping[str, Path]]:
    """Write the tables of a list, by suffix; they are there until the block ends."""
    with tempfile.TemporaryDirectory(prefix="musiceval-batch-") as folder:
        paths = {suffix: Path(folder) / f"scores{suffix}" for suffix in FORMATS}
        for path in paths.values():
            write_records(path, table_columns(run.judge.scales, run.others), run.records)
        yield paths


def state(name: str, run: ListRun | None = None, **more: Any) -> Markup:
    """Show how far a list is: *empty*, *waiting*, *scoring*, *ended* or *failed*."""
    more = {**_NO_JOB, **more}
    if run is not None:
        n_done = len(run.done)
        left_s = run.took_s * (run.n_rows - n_done) / n_done if n_done else 0.0
        more |= {
            "n_done": n_done,
            "n_rows": run.n_rows,
            "n_failed": run.n_failed,
            "n_unused": run.n_unused,
            "notes": run.notes,
            "percent": round(100 * n_done / run.n_rows),
            "left": show_time(left_s) if n_done and run.took_s else "",
            "judge": run.judge,
            "at_once": CLIPS_AT_ONCE,
        }
    return render("batch_state.html", state=name, **more)


def board(run: ListRun) -> Markup:
    """Show the systems, a plot for each scale and one table; and what to know of the model that scored."""
    systems = run.systems
    plots = []
    for scale in run.judge.scales:
        ranked = systems[systems[f"{scale.key}_rank"].notna()]
        if len(ranked):
            svg = systems_plot(ranked, scale, "Predicted score")
            plots.append(svg + download(svg, f"leaderboard-{scale.key}"))
    rows = [
        (row["system"], _clips(row), *(_standing(row, key) for key in keys(run.judge.scales)), row["reason"])
        for row in systems.to_dict("records")
    ]
    heads = ("System", "Clips with scores", *(scale.title for scale in run.judge.scales), "What is missing")
    table = html_table("Systems: mean predicted score [95 % interval] rank", heads, rows)
    n_outside = sum(not record["system"] for record in run.records)
    return render(
        "batch_board.html",
        plots=plots,
        table=table,
        warnings=run.judge.warnings,
        judge=run.judge,
        n_outside=n_outside,
        pairs=pairs_table(run),
        least_share=LEAST_SHARE,
        least_clips=LEAST_CLIPS,
    )


def pairs_table(run: ListRun) -> Markup:
    """Show in one table how far systems differ on the prompts that they share, or why that is not known."""
    found = {scale.title: compare_systems(run.records, scale.key) for scale in run.judge.scales}
    heads = ["Systems", "Scale", "Difference", "95 % interval", "p, corrected", "Higher, tied, lower"]
    rows = [(title, pair) for title, one in found.items() for pair in one.pairs]
    return render(
        "batch_pairs.html",
        table=html_table("Pairs of systems on shared prompts", heads, [_pair_row(*row) for row in rows]),
        csv=csv_address(
            ["scale", *Pair.__dataclass_fields__], [(title, *asdict(pair).values()) for title, pair in rows]
        ),
        said=[f"{title}: {_groups(one)}" for title, one in found.items()],
        has_pairs=bool(rows),
        least=LEAST_PROMPTS,
    )


def _pair_row(title: str, pair: Pair) -> list[str]:
    return [
        f"{pair.one} – {pair.other}",
        title,
        f"{pair.difference:+.2f}",
        f"{pair.low:+.2f} to {pair.high:+.2f}",
        "< 0.001" if pair.p < 0.001 else f"{pair.p:.3f}",
        f"{pair.n_higher}, {pair.n_ties}, {pair.n_lower}",
    ]


def _groups(found: Comparison) -> str:
    if found.reason:
        return found.reason
    groups = "; ".join(", ".join(group) for group in found.groups)
    return f"no difference is known between {groups}." if groups else "all pairs that were compared differ."


def _clips(row: dict[str, Any]) -> str:
    return f"{row['n_clips']:,}" if not row["n_failed"] else f"{row['n_clips']:,} of {row['n_rows']:,}"


def _standing(row: dict[str, Any], scale: str) -> str:
    score, low, high = row[scale], row[f"{scale}_low"], row[f"{scale}_high"]
    if math.isnan(score):
        return "–"
    around = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    rank = row[f"{scale}_rank"]
    return f"{score:.2f}{around} {'–' if pd.isna(rank) else f'{rank}.'}"


def rows_view(run: ListRun) -> Markup:
    """Show the rows, those without scores first; of a list that goes on the newest. Downloads have all columns."""
    places = sorted(run.done) if run.ended else list(run.done)[::-1]
    places.sort(key=lambda place: run.done[place]["status"] == OK)
    shown = places if run.ended else places[:_MOST_GOING_ON]
    return render(
        "batch_rows.html",
        rows=[(place, run.done[place], _know(run.done[place])) for place in shown],
        scales=run.judge.scales,
        has_systems=any(record["system"] for record in run.done.values()),
        n_more=len(places) - len(shown),
        ok=OK,
    )


def _know(record: Cells) -> str:
    codes = [code for code in (record["warnings"] or "").split(";") if code not in QUIET_WARNINGS]
    return str(record["reason"] or ", ".join(codes).replace("_", " "))
