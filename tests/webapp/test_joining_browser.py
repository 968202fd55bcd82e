"""A rater who joins by a study's link in Chromium: their code, the study's own words, the headphone check, the end."""

import json
import re

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from annotation.database import Database, now
from annotation.enrolment import Enrolment, set_enrolment
from annotation.life import describe
from annotation.schema import HeadphoneCheck, Rater
from annotation.studies import find_study, hash_code
from core.settings import Settings
from tests.annotation.test_wording import ASKED, CHINESE
from tests.webapp.rating_page import title
from tests.webapp.studies import make_study
from webapp.listening import locales

pytestmark = pytest.mark.browser

WORDS = locales()["zh-CN"]
# The page's tones are in a buffer that a test can look into: which of them is the quietest.
LISTEN = """() => {
  const make = AudioContext.prototype.createBuffer;
  AudioContext.prototype.createBuffer = function (...given) { return (window.tones = make.apply(this, given)); };
}"""
QUIETEST = """() => {
  const samples = window.tones.getChannelData(0), step = samples.length / 3;
  const power = [0, 1, 2].map((n) => samples.slice(n * step, (n + 1) * step).reduce((sum, one) => sum + one * one, 0));
  return power.indexOf(Math.min(...power));
}"""


@pytest.fixture
def link(database: Database, settings: Settings, address: str) -> str:
    small = make_study(
        database,
        settings.data,
        stimuli=2,
        batch_size=2,
        training=0,
        duplicates=0,
        duration_s=0.3,
        headphones="required",
    )
    texts = {"contact": "[Ada](mailto:ada@lab.example)", "instructions": "*Listen*: <b>", "consent": "I **agree**."}
    words = {"questions": json.dumps(ASKED), "translations": json.dumps({"zh-CN": CHINESE})}
    wanted = Enrolment(code="C0DE", address="https://panel.example/?p={PID}", parameters=("PID",), after_batches=1)
    with database.write() as session:
        study = find_study(session, small.name)
        describe(session, study, {**texts, **words}, now(session))
        key = set_enrolment(session, study, wanted, now(session)).key
    return f"{address}listening/?PID=a%26b#join-{key}"


def press(page: Page, key: str) -> None:
    page.locator("#rater").get_by_role("button", name=WORDS[key], exact=True).click()


def check_headphones(page: Page, right: bool) -> None:
    for number in range(1, 7):
        expect(page.get_by_text(WORDS["phones.of"].format(number=number, total=6))).to_be_visible()
        press(page, "phones.play")
        expect(page.get_by_text(WORDS["phones.which"])).to_be_visible()
        quietest = page.evaluate(QUIETEST)
        page.keyboard.press(str(1 + (quietest if right else (quietest + 1) % 3)))


def test_a_rater_joins(browser: Browser, database: Database, link: str) -> None:
    context = browser.new_context(locale="zh-CN")
    page, errors = context.new_page(), list[str]()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(f"({LISTEN})()")
    page.goto(link)
    title(page, WORDS["join.title"])
    assert "join" not in page.url
    assert "PID" not in page.url
    press(page, "join.go")
    title(page, WORDS["join.code"])
    code = page.locator(".me-own-code").inner_text()
    assert re.fullmatch(r"[0-9A-Z]{4}(-[0-9A-Z]{4}){2}", code)
    page.reload()
    expect(page.locator(".me-own-code")).to_have_text(code)
    press(page, "go_on")
    title(page, WORDS["about.title"])
    expect(page.locator(".me-consent strong").first).to_have_text("同意")
    expect(page.locator(".me-study em")).to_have_text("Listen")
    expect(page.get_by_text("<b>")).to_be_visible()
    expect(page.get_by_role("link", name="Ada")).to_have_attribute("href", "mailto:ada@lab.example")
    page.get_by_label(WORDS["about.agree"]).check()
    press(page, "about.go")
    expect(page.get_by_role("alert")).to_have_text(WORDS["error.answer_needed"].format(question="学了几年？"))
    page.locator("#me-years").fill("3")
    page.get_by_label("没有").check()
    press(page, "about.go")
    press(page, "sound.play")
    press(page, "sound.right")
    check_headphones(page, right=False)
    expect(page.get_by_text(WORDS["phones.failed"])).to_be_visible()
    expect(page.get_by_role("button", name=WORDS["phones.on"])).to_have_count(0)
    press(page, "phones.again")
    check_headphones(page, right=True)
    title(page, WORDS["rate.title"])
    assert errors == []
    with database.read() as session:
        rater = session.scalars(select(Rater).where(Rater.code_sha256 == hash_code(code))).one()
        assert rater.external == {"parameters": {"PID": "a&b"}}
        checks = select(HeadphoneCheck.correct, HeadphoneCheck.passed).where(HeadphoneCheck.rater_id == rater.id)
        assert [tuple(row) for row in session.execute(checks)] == [(0, False), (6, True)]
    context.close()
