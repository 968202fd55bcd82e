"""The plot of the systems: in the right places, and well formed whatever they are called."""

import base64
import re
import xml.etree.ElementTree as ElementTree

import pandas as pd

from core.scales import SCALES
from tests.webapp.test_study_views import HOSTILE
from webapp.study_plots import download, systems_plot


def systems(*names: str) -> pd.DataFrame:
    score = [1.0 + number for number in range(len(names))]
    columns = {
        f"{scale}{part}": [value + add for value in score]
        for scale in SCALES
        for part, add in (("", 0.0), ("_low", -0.5), ("_high", 0.25))
    }
    return pd.DataFrame({"system": names, "n_clips": 7, **columns})


def test_the_plot_has_the_best_system_on_top() -> None:
    svg = systems_plot(systems("worst", "middling", "best"), "musical_impression")
    drawn = ElementTree.fromstring(svg)
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    order = [text for text in texts if text in ("worst", "middling", "best")]
    assert order == ["best", "middling", "worst"]
    assert texts.count("7") == 3
    dots = [float(dot.get("cx", "")) for dot in drawn.iter("{http://www.w3.org/2000/svg}circle")]
    assert dots == [220.0, 172.0, 124.0]


def test_a_plot_of_hostile_names_is_well_formed() -> None:
    svg = systems_plot(systems(HOSTILE, "a\x00b\n", "long-name-of-a-system-1"), "textual_alignment")
    ElementTree.fromstring(svg)
    assert "long-nam…system-1" in svg
    link = download(svg, 'a"b')
    assert 'download="a&quot;b.svg"' in link
    encoded = re.search('base64,([^"]+)', link)
    assert encoded is not None
    assert base64.b64decode(encoded[1]).decode() == svg
