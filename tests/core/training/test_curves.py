from xml.etree import ElementTree

from core.training.curves import draw_curves, draw_scatter
from tests.core.test_measuring import table

LOG = [
    {
        "epoch": epoch,
        "train_l1": 1 / epoch,
        "dev_l1": 2 / epoch,
        "dev_l1_musical_impression": 1.5 / epoch,
        "dev_l1_textual_alignment": 2.5 / epoch,
    }
    for epoch in (1, 2, 3)
]


def words(svg: str) -> set[str]:
    root = ElementTree.fromstring(svg)
    return {element.text.strip() for element in root.iter("{http://www.w3.org/2000/svg}text") if element.text}


def test_curves_are_named() -> None:
    shown = words(draw_curves(LOG))
    assert {"training", "dev", "dev, musical impression", "dev, textual alignment", "epoch"} <= shown
    assert {"1", "2", "3"} <= shown


def test_without_a_dev_part_there_is_one_curve() -> None:
    shown = words(draw_curves([{"epoch": 1, "train_l1": 0.5}]))
    assert "training" in shown
    assert "dev" not in shown


def test_the_scatter_plot_has_both_scales_and_a_ring_for_each_system() -> None:
    svg = draw_scatter(table(20, 4))
    assert {"Musical impression", "Textual alignment", "rated", "predicted"} <= words(svg)
    assert svg.count("<use ") >= 2 * (20 + 4)


def test_the_same_bytes_again() -> None:
    assert draw_curves(LOG) == draw_curves(LOG)
    assert draw_scatter(table(20, 4)) == draw_scatter(table(20, 4))
