"""What the Training tab shows, as HTML: the run, its result as Table I, and the models.

Conventions: names, messages and figures come from files and pass `html.escape`. A button carries what it does
and to what as ``data-action`` and ``data-name``; `BUTTONS` makes an event of its click. Numbers are rounded
here and nowhere before.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from core.metrics import METRICS
from core.predictions import LEVELS
from core.scales import SCALE_TITLES, SCALES
from core.table_one import PUBLISHED
from core.training.run_status import BROKEN_OFF, DONE, FAILED, RUNNING, STOPPED, Run
from core.training.shelf import Model

BUTTONS = """element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button) trigger("select", {action: button.dataset.action, name: button.dataset.name});
});"""

_PHASES = {
    "starting": "Starting",
    "embedding": "Listening to the clips",
    "training": "Training",
    "measuring": "Measuring",
}
_ENDS = {
    DONE: ("is trained", "Its result stands below; use it from the list of models."),
    STOPPED: ("was stopped", "It can go on from where it was, or be deleted."),
    FAILED: ("failed", "When the cause is gone it can go on, or it can be deleted."),
    BROKEN_OFF: ("broke off", "It can go on from where its state was saved last, or be deleted."),
}
_DELETE = (
    "Takes the folder of {name} with what it has learned so far. The cached embeddings stay, and it can be "
    "brought back until another run is deleted."
)
_NOTHING = "No judge is being trained. Choose below what to train on; it goes on when this page is closed."
_BASE = "The judge that the app begins with"
_NOT_MEASURED = "not measured"


def run_card(run: Run | None) -> str:
    """Show the run that is going, or how the last one ended.

    Parameters
    ----------
    run : Run, optional
        None if there never was one.
    """
    if run is None:
        return _card("Training", f"<p>{_NOTHING}</p>", "status")
    if run.state == RUNNING:
        return _card(f"Training {escape(run.name)}", f"{_ordered(run)}{_bar(run)}")
    ended, hint = _ENDS[run.state]
    said = "" if run.state in (DONE, STOPPED) else f'<pre class="me-said">{escape(run.message)}</pre>'
    where = f" after epoch {run.epoch} of {run.epochs}" if run.state == STOPPED and run.epoch else ""
    shown = f"{_ordered(run)}{said}<p>{hint}</p>"
    return _card(
        f"{escape(run.name)} {ended}{where}", shown, "status", failed=run.state in (FAILED, BROKEN_OFF)
    )


def unfinished_list(runs: Sequence[Run], deleted: str | None) -> str:
    """List the runs that can go on, and the one that can be brought back.

    Parameters
    ----------
    runs : sequence of Run
        All of them.
    deleted : str, optional
        Name of the run that was deleted last.
    """
    rows = "".join(
        f"<li><b>{escape(run.name)}</b><span>{_ENDS[run.state][0]}"
        f"{f' after epoch {run.epoch} of {run.epochs}' if run.epoch else ''}</span>"
        f"{_button('resume', run.name, 'Go on')}"
        f"<details><summary>Delete…</summary><p>{escape(_DELETE.format(name=run.name))}</p>"
        f"{_button('delete', run.name, 'Delete')}</details></li>"
        for run in runs
        if run.state not in (RUNNING, DONE)
    )
    if deleted is not None:
        undo = _button("restore", deleted, "Bring back")
        rows += f"<li><b>{escape(deleted)}</b><span>deleted</span>{undo}</li>"
    return f'<section class="me-unfinished"><h3>Unfinished</h3><ul>{rows}</ul></section>' if rows else ""


def model_list(models: Sequence[Model], active: str | None, has_previous: bool, base: str) -> str:
    """List the models, the newest first, with what makes each of them judge.

    Parameters
    ----------
    models : sequence of Model
    active : str, optional
        Name of the model that judges; None for the one that the app begins with.
    has_previous : bool
        Whether there is one to go back to.
    base : str
        Name of the model that the app begins with.
    """
    rows = "".join(_model_row(model, model.name == active) for model in models)
    own = "<em>judges now</em>" if active is None else _button("base", "", "Use this model")
    rows += (
        f"<li><div><b>{escape(base)}</b><span>{_BASE}</span></div><div></div>"
        f'<div class="me-acts">{own}</div></li>'
    )
    back = _button("back", "", "Back to the previous model") if has_previous else ""
    return (
        f'<section class="me-models"><div class="me-head"><h2>Models</h2>{back}</div>'
        '<p class="me-quiet">The one that judges gives every score from now on, on the page and through the '
        f"API. System SRCC: agreement with the raters on the ranks of systems, at most 1.</p><ul>{rows}</ul>"
        "</section>"
    )


def result(model: Model | None) -> str:
    """Show how well a model agrees with the raters: Table I, and what it was measured on.

    Parameters
    ----------
    model : Model, optional
        None if there is none yet.
    """
    if model is None:
        return _card(
            "Result",
            "<p>When a judge has been trained, Table I of the MusicEval paper stands here: its figures on "
            "clips that it was not trained on, with 95 % intervals and the published ones beside them.</p>",
        )
    if model.problem:
        return _card(f"Result of {escape(model.name)}", f"<p>{escape(model.problem)}</p>", failed=True)
    tables = "".join(_table(model.metrics, scale) for scale in SCALES)
    notes = "".join(f"<p>{escape(note)}</p>" for note in _notes(model))
    return (
        f'<section class="me-outcome" aria-label="Result"><h2>Result of {escape(model.name)}</h2>'
        f'<p class="me-quiet">{escape(facts(model))}</p><div class="me-pair">{tables}</div>'
        f'<div class="me-fine">{notes}</div></section>'
    )


def facts(model: Model) -> str:
    """Say in a line what a model was trained on, and how."""
    run, data = model.run, model.run.get("data", {})
    parts = data.get("parts", {})
    counts = ", ".join(f"{n} {part}" for part, n in parts.items() if n)
    said = [
        f"data {data.get('name', '?')} ({str(data.get('sha256', '?'))[:12]})",
        f"recipe {_name(run.get('recipe'))}",
        f"tower {_name(run.get('tower'))}",
        f"split {run.get('split', {}).get('kind', '?')}, seed {run.get('seed', '?')}",
    ]
    return "; ".join(said if not counts else [*said, f"clips: {counts}"]) if run else "trained elsewhere"


def _card(title: str, shown: str, role: str = "", failed: bool = False) -> str:
    attributes = f' role="{role}"' if role else ""
    wrong = " me-failed" if failed else ""
    return f'<section class="me-run{wrong}"{attributes}><h2>{title}</h2>{shown}</section>'


def _ordered(run: Run) -> str:
    order = run.order
    said = f"{order.data.name}; recipe {order.recipe}; tower {order.tower}; split {order.split.kind}"
    return f'<p class="me-quiet">{escape(said)}; seed {order.split.seed}</p>'


def _bar(run: Run) -> str:
    percent = round(100 * run.share)
    left = f", {'up to' if run.phase == 'training' else 'about'} {_span(run.eta_s)} left" if run.eta_s else ""
    line = f"{_PHASES.get(run.phase, run.phase)}{left}"
    return (
        f'<div class="me-done-share" role="progressbar" aria-label="{escape(line)}" aria-valuemin="0"'
        f' aria-valuemax="100" aria-valuenow="{percent}"><i style="width:{percent}%"></i></div>'
        f'<p>{escape(line)}</p><p class="me-quiet">{escape(run.message)}</p>'
    )


def _span(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, length_s in (("h", 3_600), ("min", 60)):
        if seconds >= 1.5 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def _button(action: str, name: str, title: str) -> str:
    return (
        f'<button type="button" class="me-button" data-action="{action}" data-name="{escape(name)}">'
        f"{title}</button>"
    )


def _model_row(model: Model, active: bool) -> str:
    data = str(model.run.get("data", {}).get("sha256", ""))[:12]
    hashed = f"data {data}" if data else "trained elsewhere"
    about = f"{model.trained_at:%Y-%m-%d %H:%M} UTC · {hashed}"
    how = f"{_name(model.run.get('recipe'))} · {_name(model.run.get('tower'))}" if model.run else ""
    if model.problem:
        return (
            f"<li><div><b>{escape(model.name)}</b><span>{about}</span></div>"
            f'<div class="me-wrong">{escape(model.problem)}</div><div></div></li>'
        )
    figures = "".join(
        f"<span>{title}: {_cell(model.metrics, 'system', scale, 'srcc')}</span>"
        for scale, title in SCALE_TITLES.items()
    )
    caveat = f'<span class="me-note">{escape(model.caveat)}</span>' if model.caveat else ""
    use = "<em>judges now</em>" if active else _button("use", model.name, "Use this model")
    return (
        f"<li><div><b>{escape(model.name)}</b><span>{about}</span><span>{escape(how)}</span>{caveat}</div>"
        f"<div><span>System SRCC</span>{figures}</div>"
        f'<div class="me-acts">{_button("show", model.name, "Show result")}{use}</div></li>'
    )


def _table(metrics: Mapping[str, Any], scale: str) -> str:
    heads = "".join(f'<th scope="col">{name.upper()}</th>' for name in METRICS)
    body = "".join(_level(metrics, level, scale) for level in LEVELS)
    return (
        f'<div class="me-scroll" tabindex="0" role="region" aria-label="{SCALE_TITLES[scale]}">'
        f'<table class="me-table me-one"><caption>{SCALE_TITLES[scale]}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _level(metrics: Mapping[str, Any], level: str, scale: str) -> str:
    n = metrics.get(level, {}).get(scale, {}).get("n")
    title = f"{level.capitalize()} level{f', n = {n}' if n else ''}"
    rows = f'<tr><th scope="rowgroup" colspan="{1 + len(METRICS)}">{title}</th></tr>'
    own = "".join(f"<td>{_cell(metrics, level, scale, name)}</td>" for name in METRICS)
    rows += f'<tr class="me-own"><th scope="row">This model</th>{own}</tr>'
    for source, figures in PUBLISHED.items():
        cells = "".join(f"<td>{_figure(figures[level][scale].get(name))}</td>" for name in METRICS)
        rows += f'<tr><th scope="row">{escape(source.capitalize())}</th>{cells}</tr>'
    return rows


def _cell(metrics: Mapping[str, Any], level: str, scale: str, name: str) -> str:
    """A figure with its interval."""
    measured = metrics.get(level, {}).get(scale, {})
    if measured.get(name) is None:
        return _NOT_MEASURED
    interval = measured.get(f"{name}_ci95")
    bounds = f" <small>{interval[0]:.3f} to {interval[1]:.3f}</small>" if interval else ""
    return f"<b>{measured[name]:.3f}</b>{bounds}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _notes(model: Model) -> Iterator[str]:
    metrics = model.metrics
    part = metrics.get("part")
    if part:
        yield f"Measured on the {part} part. Small figures are 95 % bootstrap intervals."
    if metrics.get("system_truth"):
        yield f"System truth: {metrics['system_truth']}."
    if metrics.get("comparison"):
        yield str(metrics["comparison"])
    for reason in _reasons(metrics.get("not_measured")):
        yield f"Not measured: {reason}"
    if model.caveat:
        yield f"Not real in what it learned from: {model.caveat}."


def _reasons(given: Any) -> Iterator[str]:
    if isinstance(given, Mapping):
        for name, inner in given.items():
            yield from (f"{name}: {reason}" for reason in _reasons(inner))
    elif given:
        yield str(given)


def _name(of: Any) -> str:
    return str(of.get("name", "?")) if isinstance(of, Mapping) else str(of or "?")
