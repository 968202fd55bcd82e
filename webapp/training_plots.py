"""The plots of the page *Training*: the course of the newest run, and predicted against rated scores of a model."""

import gradio as gr
import pandas as pd

from core.evaluation import predicted
from core.model_files import LOG_FILE, PREDICTIONS_FILE
from core.scales import MAX_SCORE, MIN_SCORE
from core.training.courses import Course
from core.training.manager import Run
from core.training.registry import Model

CURVES_TITLE = "Mean absolute error by epoch"
_COLOURS = {"train": "#8f8c83", "dev": "#1f9488"}  # 3 to 1 on the backgrounds of both modes


def curves(run: Run) -> pd.DataFrame:
    """Return the course of a run: ``epoch``, ``part`` ("train" or "dev") and ``L1``, a row for each value."""
    try:
        log = pd.read_csv(run.folder / LOG_FILE)
    except FileNotFoundError:
        return pd.DataFrame({"epoch": [], "part": [], "L1": []})
    parts = [log[["epoch"]].assign(part=part, L1=log[f"{part}_l1"]) for part in ("train", "dev")]
    return pd.concat(parts).dropna()


def kept_epoch(run: Run) -> str:
    """Return which epoch's weights are kept so far, in words; "" while there is none."""
    kept = Course.read(run.folder).kept
    return f"; epoch {kept} is kept" if kept else ""


def scatter(model: Model | None, key: str) -> pd.DataFrame:
    """Return ``clip``, ``system``, ``rated`` and ``predicted`` of the clips that a model was measured on."""
    columns = {"clip_id": "clip", "system_id": "system", key: "rated", predicted(key): "predicted"}
    try:
        table = pd.read_csv(model.folder / PREDICTIONS_FILE) if model else pd.DataFrame()
    except FileNotFoundError:
        table = pd.DataFrame()
    return table.reindex(columns=list(columns)).rename(columns=columns).dropna()


def curves_plot() -> gr.LinePlot:
    """Return the plot of `curves`."""
    return gr.LinePlot(
        visible=False,
        x="epoch",
        y="L1",
        color="part",
        color_map=_COLOURS,
        title=CURVES_TITLE,
        x_title="Epoch",
        y_title="L1",
        color_title="Part",
        height=260,
        buttons=["export"],
        elem_id="training-curves",
    )


def scatter_plot(n: int) -> gr.ScatterPlot:
    """Return the plot of `scatter` for the n-th scale."""
    return gr.ScatterPlot(
        visible=False,
        x="rated",
        y="predicted",
        x_title="Rated (MOS)",
        y_title="Predicted",
        x_lim=[MIN_SCORE, MAX_SCORE],
        y_lim=[MIN_SCORE, MAX_SCORE],
        tooltip="all",
        height=320,
        buttons=["export"],
        elem_id=f"scatter-{n}",
    )
