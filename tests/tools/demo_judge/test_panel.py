import numpy as np
import pytest

from tools.demo_judge import faults, panel


@pytest.fixture(scope="module")
def clips():
    return list(panel.simulate(systems=12, clips_each=8, seed=77))


def test_a_seed_gives_the_same_test_again(clips):
    again = list(panel.simulate(systems=12, clips_each=8, seed=77))
    assert again == clips
    assert np.array_equal(again[5].sound(), clips[5].sound())
    assert next(panel.simulate(1, 1, seed=78)) != clips[0]


def test_five_raters_answer_in_whole_points(clips):
    ratings = np.array([clip.ratings for clip in clips])
    assert ratings.shape == (96, 5, 2)
    assert set(np.unique(ratings)) <= {1, 2, 3, 4, 5}
    assert all(round(5 * value, 9) % 1 == 0 for clip in clips for value in clip.mos)


def test_a_rater_differs_from_themselves_by_their_inconsistency():
    random = np.random.default_rng(0)
    rater = panel.Rater((0.0, 0.0))
    answers = np.array([rater.rate((3.0, 3.0), random) for _ in range(20_000)])
    rounding = 1 / 12  # variance that whole points add
    assert answers.std(axis=0) == pytest.approx(np.sqrt(panel.INCONSISTENCY_SD**2 + rounding), abs=0.03)


def test_biased_raters_answer_higher():
    random = np.random.default_rng(0)
    kind = np.mean([panel.Rater((0.5, 0.5)).rate((3.0, 3.0), random) for _ in range(4000)])
    strict = np.mean([panel.Rater((-0.5, -0.5)).rate((3.0, 3.0), random) for _ in range(4000)])
    assert kind - strict == pytest.approx(1.0, abs=0.06)


def test_systems_differ_and_ratings_follow_opinions(clips):
    systems = sorted({clip.system_id for clip in clips})
    means = [np.mean([clip.mos for clip in clips if clip.system_id == name], axis=0) for name in systems]
    assert len(systems) == 12
    assert np.ptp(means, axis=0).min() > 0.8
    mos, opinions = np.array([clip.mos for clip in clips]), np.array([clip.opinion for clip in clips])
    for scale in range(2):
        assert np.corrcoef(mos[:, scale], opinions[:, scale])[0, 1] > 0.9


def test_a_sound_can_be_rated_against_several_prompts(clips):
    more = list(panel.simulate(systems=12, clips_each=8, seed=77, prompts_each=3))
    assert len(more) == 3 * len(clips)
    assert [clip.seed for clip in more[:4]] == [clips[0].seed] * 3 + [clips[1].seed]
    assert len({clip.clip_id for clip in more}) == len(more)
    assert more[0].severities == more[2].severities
    assert len({clip.prompt for clip in more[:3]}) > 1


def test_a_poorer_system_does_worse_in_most_respects():
    random = np.random.default_rng(0)
    totals = [sum(faults.draw_habits(poor, random).values()) for poor in (0.1, 0.9) for _ in range(200)]
    assert np.mean(totals[200:]) > 5 * np.mean(totals[:200])
    few = [len(faults.draw_few(random)) for _ in range(100)]
    assert set(few) == {1, 2, 3}


def test_clips_last_as_long_as_asked():
    clip = next(panel.simulate(1, 1, seed=3, duration_s=4.5))
    assert clip.sound().shape == (int(4.5 * 16_000),)
