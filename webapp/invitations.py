"""Raters of a study on its page: invited by codes and links, noted, given a new code, withdrawn."""

from collections.abc import Sequence
from typing import Any

import gradio as gr
import segno
from markupsafe import Markup
from sqlalchemy import select

from annotation.database import now
from annotation.life import erase, refuse_archived, withdraw
from annotation.personal import as_text, personal_data
from annotation.schema import Rater
from annotation.studies import find_study, invite, renew
from webapp.handlers import Shown, html_part, on
from webapp.html import csv_address, file_address, html_table, render
from webapp.listening_api import PREFIX, StudyStore

_INVITE = "Codes are shown once. Give each rater theirs, or their link, which has the code in it."
_NOTES = "One line a new rater, for you alone: who it is, how to reach them. It is in no export."
_RENEW = "The rater’s old code ends, and so does every sign-in made with it. Ratings stay."
_WITHDRAW = "Code and devices of the rater end, and the open batch. It cannot be undone."
_ERASE = (
    "Answers about themselves, your note and what their link carried are deleted; ratings stay and count as before. It "
    "cannot be undone. Exports and backups that were made before keep it."
)
_GIVE = "All that is held on the rater, as JSON, for them alone: what they said and rated, consents, times, your note."
_QR_SCALE = 3


def codes(invited: Sequence[tuple[str, str]], notes: Sequence[str], address: str) -> Markup:
    """Show codes, which exist nowhere else, with the links that carry them."""
    noted = [*notes, *[""] * len(invited)]
    raters = [
        {"rater": rater, "link": link_of(address, code), "note": note}
        for (rater, code), note in zip(invited, noted, strict=False)
    ]
    rows = [(one["rater"], code, one["link"], one["note"]) for one, (_, code) in zip(raters, invited, strict=True)]
    return render(
        "studio_codes.html",
        table=html_table("Codes, shown only now", ("Rater", "Code"), invited),
        raters=[one | {"qr": segno.make(one["link"]).svg_data_uri(scale=_QR_SCALE, light="white")} for one in raters],
        csv=csv_address(("rater", "code", "link", "note"), rows),
    )


def link_of(address: str, code: str) -> str:
    """Return the link by which a rater comes; what stands behind its # is never sent as part of an address."""
    return f"{address}{PREFIX}/#{code}"


class Invitations:
    """The controls, and their handlers."""

    def __init__(self, store: StudyStore, study: gr.Dropdown) -> None:
        self._store = store
        gr.HTML("<h2>Invite</h2>", apply_default_css=False)
        with gr.Row(elem_classes="me-bar"):
            count = gr.Number(1, label="New raters", info=_INVITE, precision=0, minimum=1, min_width=240)
            unpractised = gr.Checkbox(False, label="Without practice", min_width=160)
            add = gr.Button("Invite", scale=0, min_width=160)
        self.notes = gr.Textbox(label="Notes", info=_NOTES, lines=2, max_lines=12, max_length=20_000)
        with gr.Row(elem_classes="me-bar"):
            self.rater = gr.Dropdown(label="New code for a rater", info=_RENEW, choices=[], min_width=240)
            again = gr.Button("Give a new code", scale=0, min_width=200)
        self.codes = html_part()
        self.links = gr.Textbox(label="Links", buttons=["copy"], interactive=False, visible=False, lines=1, max_lines=8)
        with gr.Accordion("Withdraw a rater", open=False), gr.Row(elem_classes="me-bar"):
            self.leaving = gr.Dropdown(label="Who withdraws", info=_WITHDRAW, choices=[], min_width=240)
            drop = gr.Checkbox(False, label="Leave their ratings out of the count", min_width=240)
            why = gr.Textbox(label="Reason for the log (may be empty)", max_length=500, min_width=240)
            leave = gr.Button("Withdraw", scale=0, min_width=160)
        with gr.Accordion("Give out personal data", open=False), gr.Row(elem_classes="me-bar"):
            self.asking = gr.Dropdown(label="Who asks", info=_GIVE, choices=[], min_width=240)
            give = gr.Button("Prepare the file", scale=0, min_width=200)
        with gr.Accordion("Erase personal answers", open=False), gr.Row(elem_classes="me-bar"):
            self.erased = gr.Dropdown(label="Whose", info=_ERASE, choices=[], min_width=240)
            comments = gr.Checkbox(False, label="Their comments too", min_width=160)
            cause = gr.Textbox(label="Reason for the log (may be empty)", max_length=500, min_width=240)
            wipe = gr.Button("Erase", variant="stop", scale=0, min_width=160)
        self.noted = html_part()
        on(give.click, self.give_out, [study, self.asking], [self.codes])
        self.wiped = on(wipe.click, self.erase, [study, self.erased, comments, cause], [self.codes]).success
        self.invited = on(
            add.click, self.invite, [study, count, unpractised, self.notes], [self.codes, self.links, self.notes]
        ).success
        on(again.click, self.renew, [study, self.rater], [self.codes, self.links])
        self.left = on(leave.click, self.withdraw, [study, self.leaving, drop, why], [self.codes]).success

    @property
    def parts(self) -> list[Any]:
        """What `show` changes."""
        return [self.rater, self.leaving, self.asking, self.erased, self.noted, self.links]

    def show(self, name: str, before: str | None) -> Shown:
        """Show the raters of a study, and the notes that there are of them."""
        with self._store.database.read() as session:
            query = select(Rater).where(Rater.study_id == find_study(session, name).id).order_by(Rater.id)
            raters = session.scalars(query).all()
        unchosen = {} if name == before else {"value": None}
        there = gr.update(choices=[rater.pseudonym for rater in raters if not rater.withdrawn_at], **unchosen)
        rows = [(rater.pseudonym, rater.note) for rater in raters if rater.note]
        everyone = gr.update(choices=[rater.pseudonym for rater in raters], **unchosen)
        noted = html_table("Notes", ("Rater", "Note"), rows)
        shown = {
            self.asking: everyone,
            self.erased: everyone,
            self.rater: there,
            self.leaving: there,
            self.noted: noted,
        }
        return shown if name == before else {**shown, self.links: gr.update(value="", visible=False)}

    def invite(
        self, study: str | None, count: float | None, without_practice: bool, notes: str, request: gr.Request
    ) -> Shown:
        """Add raters; show their codes, which are shown only now."""
        lines = [line.strip() for line in (notes or "").splitlines() if line.strip()]
        with self._store.database.write() as session:
            found = find_study(session, study or "")
            refuse_archived(found)
            invited = invite(session, found, int(count or 0), now(session), without_practice, lines)
        return {**self._shown(invited, lines, request), self.notes: ""}

    def _shown(self, invited: Sequence[tuple[str, str]], notes: Sequence[str], request: gr.Request) -> Shown:
        address = address_of_server(request)
        links = "\n".join(link_of(address, code) for _, code in invited)
        return {self.codes: codes(invited, notes, address), self.links: gr.update(value=links, visible=True)}

    def renew(self, study: str | None, rater: str | None, request: gr.Request) -> Shown:
        """Give a rater a new code; the old one ends."""
        with self._store.database.write() as session:
            found = find_study(session, study or "")
            refuse_archived(found)
            code = renew(session, found, rater or "", now(session))
        return self._shown([(str(rater), code)], [], request)

    def withdraw(self, study: str | None, rater: str | None, drop: bool, reason: str) -> Markup:
        """Take a rater out of the study."""
        with self._store.database.write() as session:
            withdraw(session, find_study(session, study or ""), rater or "", now(session), drop, reason)
        kept = "Their ratings are left out of the count." if drop else "Their ratings stay."
        return render("studio_note.html", sentence=f"{rater} has withdrawn. {kept}")

    def give_out(self, study: str | None, rater: str | None) -> Markup:
        """Show the file of what is held on a rater."""
        with self._store.database.read() as session:
            found = personal_data(session, find_study(session, study or ""), rater or "", now(session))
        address = file_address(as_text(found).encode(), "application/json")
        return render("studio_personal.html", rater=rater, address=address, name=f"{study}-{rater}.json")

    def erase(self, study: str | None, rater: str | None, comments: bool, reason: str) -> Markup:
        """Erase what a rater said of themselves."""
        with self._store.database.write() as session:
            done = erase(session, find_study(session, study or ""), rater or "", now(session), comments, reason)
        what = ", ".join(f"{count} {name}" for name, count in done.items())
        return render("studio_note.html", sentence=f"Erased of {rater}: {what}. Their ratings stay.")


def address_of_server(request: gr.Request) -> str:
    """Return the address by which the page was asked, without a path; the host is checked by `webapp.guard`."""
    asked = request.request.url  # type: ignore[union-attr]
    return f"{asked.scheme}://{asked.netloc}"
