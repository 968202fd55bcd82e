"""*New study*: its texts, its rules with what they cost, a plan by simulation, and its creation as a draft."""

import dataclasses
import json
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from annotation.database import now
from annotation.life import describe
from annotation.plans import SimulationPlan
from annotation.protocol import Protocol
from annotation.rules import consequences, false_alarms
from annotation.sequential import pausing
from annotation.session.answers import CONSENT
from annotation.simulate import simulate
from annotation.studies import create, parse_scales
from annotation.wording import LONGEST, QUESTIONS
from core.errors import MusicEvalError, StudyError
from core.scales import MUSICEVAL
from webapp.follow import Done, follow
from webapp.handlers import PRIVATE, QUIETLY, Shown, explain, told
from webapp.html import render
from webapp.listening_api import StudyStore

RULES = {rule.name: rule for rule in dataclasses.fields(Protocol)}
PARTS = {
    "Batches": ("raters_per_clip", "batch_size", "presentation", "training", "lease_minutes", "close_after_days"),
    "Hidden checks": (
        *("anchors", "anchor_fail_below", "anchor_scale", "anchor_rule", "anchor_margin"),
        *("duplicates", "duplicate_tolerance", "duplicate_distance", "scope"),
    ),
    "Raters": (
        *("pause_rule", "pause_honest", "pause_careless", "pause_wrongly", "pause_missed"),
        *("most_batches_a_day", "most_batches"),
    ),
    "Sound": (
        "headphones",
        "sample_rate_hz",
        "loudness_lufs",
        "peak_dbtp",
        "excerpt_start_s",
        "excerpt_length_s",
        "fade_ms",
    ),
}
TEXTS = {
    "title": ("Title", "Raters see it above the test.", 1),
    "instructions": ("Instructions", "Before the first clip and between batches; Markdown.", 4),
    "contact": ("Contact", "Whom raters ask: a name, an address; Markdown.", 1),
    "consent": (
        "Consent",
        "What raters agree to, kept as they read it; Markdown. Empty: the usual text, shown here.",
        4,
    ),
    "questions": (
        "Questions about the rater, as JSON",
        "A list: key, text, kind (choice, number, text), options of a choice, needed. Empty: those shown here.",
        4,
    ),
    "translations": (
        "Other languages, as JSON",
        "By tag (zh-CN): title, instructions, contact, consent; questions and scales by key. The rest is as above.",
        4,
    ),
}
_USUAL = json.dumps([{"key": one.key, "text": one.text, "options": one.options} for one in QUESTIONS], indent=2)
_PLAN = (
    "The whole study is simulated with the real code and made-up raters: seconds for a small one, minutes for one of "
    "2,748 clips."
)
_SIZES = {"clips": "Clips to rate", "systems": "Systems", "raters": "Raters", "anchor_pool": "Anchors in all"}
_SMALL = {"clips": 120, "systems": 6, "raters": 8, "anchor_pool": 20}


def text_fields() -> list[gr.Textbox]:
    """Lay out a field for each text that raters see."""
    return [
        gr.Textbox(
            label=label,
            info=info,
            lines=lines,
            max_lines=24 if lines > 1 else 1,
            max_length=LONGEST.get(name, 100_000),
            placeholder={"consent": CONSENT, "questions": _USUAL}.get(name, ""),
        )
        for name, (label, info, lines) in TEXTS.items()
    ]


class NewStudy:
    """The form; `created` is the name of the study that was made last."""

    def __init__(self, store: StudyStore) -> None:
        self._store = store
        with gr.Accordion("New study", open=False, elem_id="new-study") as self.form:
            self.name = gr.Textbox(
                label="Name", info="Up to 64 small letters, digits and hyphens; raters do not see it.", max_length=64
            )
            self.texts = text_fields()
            gr.HTML(render("studio_rules.html"), apply_default_css=False)
            self.rules: dict[str, Any] = {}
            for part, names in PARTS.items():
                with gr.Accordion(part, open=False), gr.Row(elem_classes="me-bar"):
                    self.rules |= {name: _rule(name) for name in names}
            with gr.Accordion("Scales", open=False):
                self.scales = _scales()
            self.follows = gr.HTML(apply_default_css=False)
            self._lay_out_plan()
            make = gr.Button("Create the draft", variant="primary", elem_classes="me-narrow")
        self.note = gr.HTML(apply_default_css=False)
        self.created = gr.State()
        given = [self.name, *self.texts, self.scales, *self.rules.values()]
        for rule in self.rules.values():
            rule.change(told(self.weigh), [self.scales, *self.rules.values()], self.follows, **_QUIET)
        self.made = make.click(
            told(self.create_study), given, [self.form, self.name, self.note, self.created], **PRIVATE
        ).success

    def _lay_out_plan(self) -> None:
        with gr.Accordion("Plan it", open=False):
            explain("Simulate", _PLAN)
            with gr.Row(elem_classes="me-bar"):
                sizes = [
                    gr.Number(_SMALL[name], label=label, precision=0, minimum=1, min_width=160)
                    for name, label in _SIZES.items()
                ]
            start = gr.Button("Simulate the study", elem_classes="me-narrow")
            planned = gr.HTML(apply_default_css=False, elem_id="planned")
        start.click(told(self.plan), [self.scales, *sizes, *self.rules.values()], planned, **QUIETLY)

    def weigh(self, scales: str, *rules: Any) -> Markup:
        """Say what follows from the rules, or why no study can have them: how often a good rater fails, for one."""
        try:
            asked, protocol = parse_scales(scales), _protocol(rules)
            protocol.check_new(asked)
        except MusicEvalError as error:
            return render("studio_follows.html", batch="", sentences=[str(error)])
        chance = false_alarms(protocol, asked)["either"]
        trials = protocol.trials_in(protocol.batch_size)
        batch = (
            f"A full batch has {trials} trials; by chance a good rater fails {chance:.1%} of batches. "
            f"{pausing(protocol, asked)}."
        )
        return render("studio_follows.html", batch=batch, sentences=consequences(protocol, asked))

    def plan(self, scales: str, *given: Any) -> Iterator[Markup]:
        """Simulate the study that is planned; show how far that is, then what came of it."""
        sizes, rules = given[: len(_SIZES)], given[len(_SIZES) :]
        order = SimulationPlan(
            **{name: int(value or 0) for name, value in zip(_SIZES, sizes, strict=True)},
            careless=0,
            quitting=0,
            protocol=_protocol(rules),
        )
        asked = parse_scales(scales)
        for step in follow(lambda report: simulate(order, report, asked)):
            if isinstance(step, Done):
                found = step.value
                yield render("studio_plan.html", found=found, done=None, shortage=found.shortage)
            else:
                yield render("studio_plan.html", found=None, done=step, shortage=[])

    def create_study(self, name: str, *given: Any) -> Shown:
        """Create a draft."""
        texts, scales, rules = given[: len(TEXTS)], given[len(TEXTS)], given[len(TEXTS) + 1 :]
        asked, protocol = parse_scales(scales), _protocol(rules)
        with self._store.database.write() as session:
            at = now(session)
            study = create(session, name.strip(), protocol, secrets.randbelow(2**31), at, scales=asked, state="draft")
            describe(session, study, dict(zip(TEXTS, texts, strict=True)), at)
        return {
            self.form: gr.update(open=False),
            self.name: "",
            self.note: render("studio_note.html", sentence=f"The draft {name.strip()} is made. Add its clips next."),
            self.created: name.strip(),
        }


_QUIET: dict[str, Any] = {**QUIETLY, "trigger_mode": "always_last"}


def _protocol(values: Sequence[Any]) -> Protocol:
    return Protocol(**filled([RULES[name] for part in PARTS.values() for name in part], values))


def filled(rules: "Sequence[dataclasses.Field[Any]]", values: Sequence[Any]) -> dict[str, Any]:
    """Return the values of fields of rules by their names; `StudyError` where any is empty."""
    lacking = [rule.metadata["meaning"] for rule, value in zip(rules, values, strict=True) if value is None]
    if lacking:
        raise StudyError(f"Fill in every rule. Empty is: {', '.join(lacking)}.")
    return {rule.name: value for rule, value in zip(rules, values, strict=True)}


def _rule(name: str) -> gr.Dropdown | gr.Number:
    """Return the field of a rule, with its meaning, its default and the reason for it."""
    rule = RULES[name]
    usual = getattr(Protocol(), name)
    default = usual if isinstance(usual, str) else f"{usual:g}"
    meaning = rule.metadata["meaning"]
    info = f"{meaning[0].upper()}{meaning[1:]}. {default}: {rule.metadata['reason']}"
    return rule_field(rule, info, 280, name == "anchor_scale")


def rule_field(
    rule: "dataclasses.Field[Any]", info: str, min_width: int, allow_custom_value: bool = False
) -> gr.Dropdown | gr.Number:
    """Return a field for a rule, with its default: a menu where there are choices."""
    shown: dict[str, Any] = {"value": getattr(Protocol(), rule.name), "info": info, "min_width": min_width}
    shown["label"] = rule.name.replace("_", " ").capitalize()
    choices = list(rule.metadata["choices"])
    if choices:
        return gr.Dropdown(choices, allow_custom_value=allow_custom_value, **shown)
    return gr.Number(precision=0 if rule.type is int else None, **shown)


def _scales() -> gr.Textbox:
    usual = json.dumps([scale.to_json() for scale in MUSICEVAL], indent=2, ensure_ascii=False)
    info = "What is asked of each clip, in this order, as JSON: key, title, question, five labels (the lowest first)."
    return gr.Textbox(usual, label="Scales", info=info, lines=8, max_lines=24, max_length=20_000)
