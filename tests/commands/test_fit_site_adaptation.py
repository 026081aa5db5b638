"""The second half of `fit-site`: what is written when a head was learned, rejected, refused or interrupted."""

import json
import os
import signal
import sys
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import pytest

from pipeline.commands import adapting
from pipeline.commands.adapting import HEAD_FILE, CameraModels, adapt_to_site, why_not_adapted
from pipeline.commands.fit_site import FitOptions, fit_site
from pipeline.commands.interrupting import stop_on_interrupt
from pipeline.config import Config, ReidConfig, load_config
from pipeline.fitting.crops import CropStore
from pipeline.fitting.facts import Piece, SiteFacts
from pipeline.scenes.export import write_scene
from pipeline.scenes.walks import random_scenario
from pipeline.types import CropFeature, CropQuality, TrackKey
from reid.adaptation.closed_form import fit_closed_form
from reid.aligned import AlignedParameters
from reid.handcrafted import HandcraftedEncoder

CONFIG = """\
# a site
site: small
cameras:
  - {id: lobby, source: "scene/lobby.mp4", detections: scene/lobby.txt}
  - {id: street, source: scene/street.mp4, detections: scene/street.txt}  # outside
detector: {kind: recorded}
reid: {backbone: handcrafted}  # no weights
"""
GOOD = CropQuality(200.0, 300.0, 0.0, 0.0, 0.9)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two cameras for twenty seconds, with the ground truth's boxes as detections."""
    folder = tmp_path_factory.mktemp("site")
    scenario = random_scenario(people=5, cameras=2, duration_s=20.0, seed=3)
    scene = write_scene(scenario, folder / "scene", mask_every=1000)
    for camera in ("lobby", "street"):
        rows = [line.split(",") for line in (scene.ground_truth / f"{camera}.txt").read_text().splitlines()]
        found = [",".join([r[0], "-1", *r[2:6], "0.9"]) for r in rows if r[6] == "1"]
        (folder / "scene" / f"{camera}.txt").write_text("\n".join(found) + "\n")
    (folder / "mine.yaml").write_text(CONFIG)
    return folder


@dataclass
class Outcome:
    """What the commands know of `reid.adaptation.outcome.Adaptation`."""

    parameters: AlignedParameters | None
    reason: str
    stopped: bool = False
    backbone: None = None
    seconds: float = 1.5
    held_back: tuple = ()

    def to_plain(self):
        return {"stages": [{"stage": "closed form"}], "seconds": self.seconds}


@pytest.fixture
def scripted(monkeypatch):
    """Puts a function in the place of the adaptation."""

    def use(adapt):
        module = ModuleType("reid.adaptation.adapt")
        module.adapt = adapt
        monkeypatch.setitem(sys.modules, "reid.adaptation.adapt", module)

    return use


def accepted(material, encoder, start, *, on_progress, **_):
    on_progress("closed form", 0, 1)
    on_progress("closed form", 1, 1)
    return Outcome(fit_closed_form(material, encoder, start), "better by .1")


def rejected(*_, **__):
    return Outcome(None, "worse on 5 people")


def fitted(site, out_dir, name="mine.yaml", truth=None, **options):
    told = []
    config_file = site / name
    how = FitOptions(progress=False, **options)
    code = fit_site(load_config(config_file), config_file, out_dir, truth, told.append, how)
    return code, told, json.loads((out_dir / "fit.json").read_text()), (out_dir / "site.yaml").read_text()


def test_a_head_that_was_accepted_is_written_with_its_evidence_and_its_own_threshold(site, tmp_path, scripted):
    scripted(accepted)
    code, told, plain, text = fitted(site, tmp_path / "out", truth=site / "scene" / "gt")
    assert code == 0 and plain["adaptation"]["kept"] is True
    config = load_config(tmp_path / "out" / "site.yaml")
    head = AlignedParameters.load(tmp_path / "out" / HEAD_FILE)
    assert (config.reid.head, config.reid.fusion, config.reid.stripes) == ("sta", "aligned", head.rows)
    assert os.path.realpath(config.reid.head_weights) == os.path.realpath(tmp_path / "out" / HEAD_FILE)
    assert 'head_weights: "head.safetensors"' in text and "better by .1" in text and "# no weights" in text
    assert f"@{head.digest}" in plain["model"] and head.digest not in plain["adaptation"]["model_before"]
    assert config.matcher.threshold == plain["threshold"]["threshold"]
    assert plain["adaptation"]["thresholds"]["after"]["threshold"] == config.matcher.threshold
    assert plain["adaptation"]["facts"]["tracks"] > 0 and "seconds" not in plain["adaptation"]
    assert any(line.startswith("clip head: better by .1") for line in told)


def accepted_with_held_back(material, encoder, start, **_):
    """Every number is held back by one of two heads, nearly all of them by the first."""
    whole = fit_closed_form(material, encoder, start)
    parts = [material.people[2:], material.people[:2]]
    heads = [fit_closed_form(material.of_people(parts[1 - i]), encoder, start) for i in range(2)]
    return Outcome(whole, "better by .1", held_back=tuple(zip(parts, heads, strict=True)))


def test_the_threshold_is_chosen_on_people_whom_the_head_did_not_learn_from(site, tmp_path, scripted, monkeypatch):
    from pipeline.commands import fit_site as command

    given = {}

    def noted(footage, *arguments, **options):
        given.update(footage=footage, **options)
        return fit_site_settings(footage, *arguments, **options)

    fit_site_settings = command.fit_site_settings
    monkeypatch.setattr(command, "fit_site_settings", noted)
    scripted(accepted_with_held_back)
    _, _, plain, text = fitted(site, tmp_path / "out", truth=site / "scene" / "gt")
    assert plain["threshold"]["chosen_on"] == "people held back"
    assert plain["adaptation"]["thresholds"]["after"]["chosen_on"] == "people held back"
    assert "without them" in text
    assert plain["adaptation"]["kept"] is True
    models = [{clip.model_id for clip in group} for group in given["held_back"]]
    of_all = {clip.model_id for clip in given["footage"].clips}
    assert all(len(one) == 1 for one in models)
    assert len(set.union(*models) | of_all) == 3  # each group has a head of its own, and none is the final one


def test_without_enough_people_held_back_the_threshold_is_that_of_the_people_learned_from_with_a_warning(
    site, tmp_path, scripted
):
    scripted(accepted)
    _, told, plain, text = fitted(site, tmp_path / "out", truth=site / "scene" / "gt")
    assert plain["threshold"]["chosen_on"] == "people learned from"
    assert any("people whom the head has learned from" in line for line in told)
    assert "people whom the head has learned from" in text


def test_the_written_configuration_builds_the_head_that_the_threshold_was_chosen_for(site, tmp_path, scripted):
    from pipeline.build import build_encoder, build_head, settle

    scripted(accepted)
    _, _, plain, _ = fitted(site, tmp_path / "out", truth=site / "scene" / "gt")
    config = settle(load_config(tmp_path / "out" / "site.yaml")).config
    head = build_head(config, build_encoder(config).describe())
    assert head.clip_model_id == plain["model"]


def test_a_site_that_was_fitted_can_be_fitted_again_from_its_own_head(site, tmp_path, scripted):
    scripted(accepted)
    fitted(site, tmp_path / "out", truth=site / "scene" / "gt")
    first = AlignedParameters.load(tmp_path / "out" / HEAD_FILE)
    starts = []

    def noted(material, encoder, start, **rest):
        starts.append(start.digest)
        return rejected()

    scripted(noted)
    again = tmp_path / "out" / ".." / "again"
    told = []
    config_file = tmp_path / "out" / "site.yaml"
    fit_site(load_config(config_file), config_file, again, None, told.append, FitOptions(progress=False))
    assert starts == [first.digest]
    kept = load_config(tmp_path / "again" / "site.yaml").reid
    assert os.path.realpath(kept.head_weights) == os.path.realpath(tmp_path / "out" / HEAD_FILE)


def test_a_head_that_was_rejected_leaves_everything_as_it_was_and_says_why(site, tmp_path, scripted):
    scripted(rejected)
    _, told, plain, text = fitted(site, tmp_path / "out")
    assert not (tmp_path / "out" / HEAD_FILE).exists()
    assert plain["adaptation"]["kept"] is False and plain["adaptation"]["reason"] == "worse on 5 people"
    assert load_config(tmp_path / "out" / "site.yaml").reid == load_config(site / "mine.yaml").reid
    assert "worse on 5 people" in text and any("left as it was: worse on 5 people" in line for line in told)


def test_rejected_or_not_asked_for_the_settings_are_the_same(site, tmp_path, scripted):
    scripted(rejected)
    truth = site / "scene" / "gt"
    _, _, with_try, _ = fitted(site, tmp_path / "tried", truth=truth)
    _, _, without, _ = fitted(site, tmp_path / "not", truth=truth, adapt=False)
    assert with_try.pop("adaptation")["kept"] is without.pop("adaptation")["kept"] is False
    assert with_try["model"] == without["model"]
    assert with_try["threshold"]["threshold"] == pytest.approx(without["threshold"]["threshold"], abs=0.011)


def test_a_head_whose_threshold_cannot_be_chosen_is_not_kept(site, tmp_path, scripted, monkeypatch):
    from pipeline.commands import fit_site as command

    def too_little(*arguments, **options):
        fit = fit_site_settings(*arguments, **options)
        return replace(fit, threshold=replace(fit.threshold, threshold=None))

    fit_site_settings = command.fit_site_settings
    monkeypatch.setattr(command, "fit_site_settings", too_little)
    scripted(accepted)
    _, _, plain, _ = fitted(site, tmp_path / "out")
    assert plain["adaptation"]["kept"] is False and "too little footage" in plain["adaptation"]["reason"]
    assert not (tmp_path / "out" / HEAD_FILE).exists()


def test_ctrl_c_while_learning_writes_what_was_accepted_and_says_so(site, tmp_path, scripted):
    def interrupted(material, encoder, start, *, should_stop, **_):
        assert not should_stop()
        signal.raise_signal(signal.SIGINT)
        assert should_stop()
        return Outcome(fit_closed_form(material, encoder, start), "better so far", stopped=True)

    scripted(interrupted)
    told = []
    config_file = site / "mine.yaml"
    with pytest.raises(KeyboardInterrupt):
        fit_site(
            load_config(config_file),
            config_file,
            tmp_path / "out",
            site / "scene" / "gt",
            told.append,
            FitOptions(progress=False),
        )
    assert load_config(tmp_path / "out" / "site.yaml").reid.fusion == "aligned"
    assert json.loads((tmp_path / "out" / "fit.json").read_text())["adaptation"]["kept"] is True
    assert "every file is complete" in told[-1]


def test_the_second_ctrl_c_interrupts_at_once_and_the_old_handler_comes_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt() as should_stop:
        signal.raise_signal(signal.SIGINT)
        assert should_stop()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("reid", "told"), [({"head": "mean"}, "mean"), ({"fusion": "paper"}, "paper")])
def test_a_configuration_that_asks_for_another_head_keeps_it(reid, told):
    assert told in why_not_adapted(replace(ReidConfig(), **reid))
    assert why_not_adapted(ReidConfig()) is None


# -- footage of nobody, of one person, of a thousand tracks; the adaptation itself is the real one


def models():
    config = Config(reid=replace(ReidConfig(), backbone="handcrafted", stripes=8))
    return CameraModels(config, HandcraftedEncoder(8), None)


def facts(people, tracks_each, together=True, crops=4):
    """So many people, each seen several times; every two of consecutive numbers at once."""
    rng = np.random.default_rng(0)
    description = models().description
    store, pieces, numbers = CropStore(), [], []
    looks = rng.uniform(0, 1, (people, 8, description.channels))
    for track in range(people * tracks_each):
        key = TrackKey(f"cam{track % 2}", "1", track)
        for i in range(crops):
            stripes = np.asarray(looks[track % people] + rng.normal(0, 0.1, looks[0].shape), np.float32).clip(0)
            energy = np.square(stripes).sum(axis=1)
            feature = CropFeature(track + 2.0 * i, stripes, energy, GOOD, description.model_id)
            store.add(key, feature, None)
        pieces.append(Piece(key, store.crops_of(key)))
        numbers.append(track)
    apart = frozenset((n, n + 1) for n in numbers[:-1] if n % people != people - 1) if together else frozenset()
    return SiteFacts(tuple(pieces), tuple(numbers), apart, {"tracks": len(pieces)}), store


def learned(of, store):
    return adapt_to_site(of, store, models(), None, lambda *_: None)


def test_nobody_is_a_defined_outcome():
    found = learned(SiteFacts((), (), frozenset(), {"tracks": 0}), CropStore())
    assert found.parameters is None and "nobody" in found.reason and found.plain["kept"] is False


def test_one_person_alone_is_a_defined_outcome():
    one = learned(*facts(1, 1))
    assert one.parameters is None and "of 1 tracks" in one.reason
    never_together = learned(*facts(1, 4, together=False))
    assert never_together.parameters is None and never_together.reason and never_together.plain["kept"] is False


@pytest.mark.slow
def test_a_thousand_tracks_are_learned_from_in_bounded_time():
    found = learned(*facts(50, 20))
    assert found.reason and found.seconds < 600
    assert found.plain["kept"] is (found.parameters is not None)


def test_the_module_that_may_import_the_models_is_the_only_one():
    assert adapting.__name__ == "pipeline.commands.adapting"
