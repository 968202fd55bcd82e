"""What the Batch tab shows: how far a batch is, the leaderboard of its systems, and its rows.

Conventions: whatever a visitor gave (names of files and systems, a message that quotes them) passes
`html.escape`, or is a cell of Gradio's table, which shows text. Numbers are rounded here and nowhere before.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd

from core.faults import show_time
from core.many.records import Cells
from core.many.table import OK
from core.scales import SCALE_TITLES, SCALES
from core.scorer import Scorer
from webapp.html_table import html_table
from webapp.result import QUIET_WARNINGS
from webapp.study_plots import download, systems_plot

TABLE_HEADS = ("Row", "File", "System", *SCALE_TITLES.values(), "Status", "What to know")

_MEGABYTE = 1_000_000
_EXAMPLE = """file,prompt,system
S1/one.wav,A calm piano ballad,S1
S2/one.wav,A calm piano ballad,S2"""
_NO_SYSTEMS = (
    "With a column <code>system</code> in the manifest, a leaderboard of the systems would stand here."
)
_INTERVALS = (
    "Bars and brackets: 95 % bootstrap intervals over a system’s clips, so how far its mean would move with "
    "other clips. The judge’s own error comes on top."
)


def empty(max_rows: int, max_bytes: int) -> str:
    """Show what a batch is, and what will stand here.

    Parameters
    ----------
    max_rows : int
        Of a manifest.
    max_bytes : int
        Of a file.
    """
    return _card(
        "Result",
        "<p>A manifest names the clips and their prompts, one row a clip: a CSV, JSON Lines or Parquet file "
        "with the columns <code>file</code> and <code>prompt</code>, and if you like <code>system</code>, "
        f"<code>id</code> and others.</p><pre>{_EXAMPLE}</pre>"
        "<p>Every row gets its scores or the reason why there are none. They will stand below, with a "
        "leaderboard of the systems, for download as CSV, JSON Lines and Parquet.</p>"
        f'<p class="me-quiet">At most {max_rows:,} rows, and {max_bytes / _MEGABYTE:g} MB a file; the '
        "command line takes any number.</p>",
    )


def waiting() -> str:
    """Show that a batch was taken."""
    return _card(
        "Reading",
        "<p>The manifest and the clips are being read. Where others’ batches are being scored, yours begins "
        "after them.</p>",
    )


def working(records: Sequence[Cells], n_rows: int, took_s: float) -> str:
    """Show how far a batch is.

    Parameters
    ----------
    records : sequence of dict
        The rows that are finished.
    n_rows : int
        Of the manifest.
    took_s : float
        Since the first row was begun.
    """
    n_done = len(records)
    left = f", about {show_time(took_s * (n_rows - n_done) / n_done)} left" if n_done else ""
    line = f"{n_done:,} of {n_rows:,} rows{left}"
    percent = round(100 * n_done / n_rows)
    return _card(
        "Scoring",
        f'<div class="me-done-share" role="progressbar" aria-label="{line}" aria-valuemin="0"'
        f' aria-valuemax="100" aria-valuenow="{percent}"><i style="width:{percent}%"></i></div>'
        f'<p>{line}</p><p class="me-quiet">{_failed(records)} Keep this page open.</p>',
    )


def ended(records: Sequence[Cells], n_rows: int, n_unused: int, scorer: Scorer) -> str:
    """Show how a batch ended.

    Parameters
    ----------
    records : sequence of dict
    n_rows : int
        Of the manifest; more than there are records if the batch was stopped.
    n_unused : int
        Files that no row asked for.
    scorer : Scorer
        What scored.
    """
    n_ok = sum(record["status"] == OK for record in records)
    title = f"{n_ok:,} of {n_rows:,} rows scored"
    stopped = f"Stopped: {n_rows - len(records):,} rows were not begun." if len(records) < n_rows else ""
    unused = f"{_files(n_unused)} in no row of the manifest." if n_unused else ""
    said = " ".join(part for part in (stopped, _failed(records), unused) if part)
    model = f"Scored by {escape(scorer.checkpoint.id)} ({scorer.checkpoint.sha256[:12]})."
    return _card(title, f'<p>{said}</p><p class="me-quiet">{model}</p>', "status")


def failed(message: str) -> str:
    """Show why there is no batch, and what to do."""
    lines = message.splitlines()
    more = f'<pre class="me-said">{escape(chr(10).join(lines[1:]))}</pre>' if lines[1:] else ""
    return _card("No batch", f"<p>{escape(lines[0])}</p>{more}", "alert", "me-run me-failed")


def caveat(scorer: Scorer) -> str:
    """Say what to know of the model that scored."""
    notes = "".join(f"<p>{escape(warning.message)}</p>" for warning in scorer.model_warnings())
    return f'<div class="me-notice">{notes}</div>' if notes else ""


def board(systems: pd.DataFrame, scorer: Scorer) -> str:
    """Show the systems: a plot for each scale, then one table.

    Parameters
    ----------
    systems : DataFrame
        Of `core.many.leaderboard.leaderboard`.
    scorer : Scorer
        What scored.
    """
    if systems.empty:
        return f'<section class="me-board">{caveat(scorer)}<p class="me-quiet">{_NO_SYSTEMS}</p></section>'
    plots = ""
    for scale in SCALES:
        svg = systems_plot(systems, scale, "Predicted score")
        plots += f"<figure>{svg}{download(svg, f'leaderboard-{scale}')}</figure>"
    rows = [
        (row["system"], row["n_clips"], *(_standing(row, scale) for scale in SCALES))
        for row in systems.to_dict("records")
    ]
    heads = ("System", "Clips", *SCALE_TITLES.values())
    return (
        f'<section class="me-board" aria-label="Leaderboard"><h2>Leaderboard</h2>{caveat(scorer)}'
        f'<div class="me-plots">{plots}</div>'
        f"{html_table('Systems: mean predicted score [95 % interval] rank', heads, rows)}"
        f'<p class="me-fine">{_INTERVALS}</p></section>'
    )


def rows_table(records: Sequence[Cells]) -> pd.DataFrame:
    """Lay the rows out for the page; downloads have more columns and all digits."""
    return pd.DataFrame([_shown(record) for record in records], columns=TABLE_HEADS)


def _shown(record: Cells) -> list[Any]:
    scores = [None if record[scale] is None else round(record[scale], 2) for scale in SCALES]
    codes = [code for code in (record["warnings"] or "").split(";") if code not in QUIET_WARNINGS]
    know = record["reason"] or ", ".join(codes).replace("_", " ")
    return [record["id"], record["file"], record["system"], *scores, record["status"], know]


def _standing(row: dict[str, Any], scale: str) -> str:
    low, high = row[f"{scale}_low"], row[f"{scale}_high"]
    around = f" [{low:.2f}, {high:.2f}]" if low == low else " (one clip)"
    return f"{row[scale]:.2f}{around} {row[f'{scale}_rank']}."


def _failed(records: Sequence[Cells]) -> str:
    n_failed = sum(record["status"] != OK for record in records)
    return f"{n_failed:,} cannot be scored; the table says why." if n_failed else ""


def _files(count: int) -> str:
    return "One file is" if count == 1 else f"{count:,} files are"


def _card(title: str, shown: str, role: str = "", names: str = "me-run") -> str:
    attributes = f' role="{role}"' if role else ""
    return f'<section class="{names}" aria-label="Batch"{attributes}><h2>{title}</h2>{shown}</section>'
