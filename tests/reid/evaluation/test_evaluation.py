"""Evaluation of a data set from its pictures to the figures."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from evaluation_examples import MODEL, ColourEncoder, three_cameras, tracklet
from plain_reranking import plain_rerank
from plain_scores import plain_figures

from pipeline.errors import ConfigError, DecodeError
from pipeline.retrieval import cosine_distance
from reid.datasets.tracklets import DataSet, ImageTracklet
from reid.evaluation import EvaluationOptions, as_json, evaluate, evaluate_heads, figures
from reid.heads import MeanHead, StaHead
from reid.rerank import RerankSettings
from reid.tracklet_vectors import Sampling, embed_tracklets


@pytest.fixture
def encoder():
    return ColourEncoder()


def mean_head(encoder):
    return MeanHead(encoder.describe())


def labels(tracklets):
    return [(t.person_id, t.camera_id) for t in tracklets]


def test_figures_are_those_of_the_plain_definitions_with_and_without_re_ranking(tmp_path, encoder):
    data = three_cameras(tmp_path)
    how = EvaluationOptions(Sampling("all"), RerankSettings(k1=3, k2=2))
    (result,) = evaluate(data, encoder, mean_head(encoder), how).results
    both = embed_tracklets([*data.query, *data.gallery], encoder, {"mean": mean_head(encoder)}, Sampling("all"))
    asked, held = np.split(both.vectors["mean"], [len(data.query)])
    plain = plain_figures(cosine_distance(asked, held).tolist(), labels(data.query), labels(data.gallery))
    assert figures(result.plain) == pytest.approx(plain)
    reranked = plain_figures(plain_rerank(asked, held, 3, 2), labels(data.query), labels(data.gallery))
    assert figures(result.reranked) == pytest.approx(reranked)


def test_people_of_different_colours_are_all_found(tmp_path, encoder):
    found = evaluate(three_cameras(tmp_path), encoder, mean_head(encoder))
    (result,) = found.results
    assert figures(result.plain) == dict.fromkeys(figures(result.plain), 1.0)
    assert result.reranked is None and result.interval == (1.0, 1.0)
    assert found.encoder == MODEL and result.model_id == f"{MODEL}/mean" and result.dimensions == 3
    assert found.counts == {
        "queries": 4,
        "queries_with_a_match": 4,
        "gallery": 8,
        "gallery_junk": 0,
        "people_asked_for": 4,
        "people": 4,
        "cameras": 3,
        "pictures": 36,
    }
    assert found.skipped == {}


def test_scoring_in_small_blocks_changes_nothing(tmp_path, encoder, monkeypatch):
    data = three_cameras(tmp_path, seed=3)
    how = EvaluationOptions(rerank=RerankSettings(k1=3, k2=2))
    whole = as_json(evaluate(data, encoder, mean_head(encoder), how))
    monkeypatch.setattr("reid.evaluation._BLOCK", 1)
    assert as_json(evaluate(data, encoder, mean_head(encoder), how)) == whole


def test_two_evaluations_agree_to_the_last_digit(tmp_path):
    data = three_cameras(tmp_path, seed=5)
    texts = []
    for _ in range(2):
        encoder = ColourEncoder()
        heads = {"mean": mean_head(encoder), "sta-paper": StaHead(encoder.describe(), "paper")}
        found = evaluate_heads(data, encoder, heads, EvaluationOptions(rerank=RerankSettings()))
        texts.append(json.dumps(as_json(found)))
    assert texts[0] == texts[1]


def test_several_heads_share_the_crop_features(tmp_path, encoder):
    data = three_cameras(tmp_path)
    described = encoder.describe()
    heads = {"mean": MeanHead(described), "g": StaHead(described), "s": StaHead(described, "stripes")}
    found = evaluate_heads(data, encoder, heads, EvaluationOptions(Sampling("all")))
    assert encoder.seen == 36
    assert [(r.name, r.dimensions) for r in found.results] == [("mean", 3), ("g", 3), ("s", 15)]
    alone = evaluate(data, ColourEncoder(), StaHead(described, "stripes"), EvaluationOptions(Sampling("all")))
    assert figures(found.results[2].plain) == figures(alone.results[0].plain)


def test_queries_that_are_in_the_gallery_are_encoded_once_and_never_meet_themselves(tmp_path, encoder):
    data = three_cameras(tmp_path, pictures=2)
    as_in_mars = replace(data, gallery=(*data.gallery, *data.query))
    apart = evaluate(data, ColourEncoder(), mean_head(encoder))
    together = evaluate(as_in_mars, encoder, mean_head(encoder))
    assert encoder.seen == 24
    assert together.counts["gallery"] == 12
    # the other people's queries are new wrong answers, the own one is junk
    assert together.results[0].plain.first_match.tolist() == apart.results[0].plain.first_match.tolist()


def test_junk_leaves_the_ranking_and_distractors_stay(tmp_path, encoder):
    query = tracklet(tmp_path, 1, 0, [(200, 0, 0)])
    right = tracklet(tmp_path, 1, 1, [(200, 30, 30)])
    junk = tracklet(tmp_path, -1, 1, [(200, 1, 1)])
    distractor = tracklet(tmp_path, 0, 1, [(200, 2, 2)])
    own_camera = tracklet(tmp_path, 1, 0, [(200, 0, 0)], name="b")
    data = DataSet("junk", (), (query,), (junk, own_camera, distractor, right))
    found = evaluate(data, encoder, mean_head(encoder))
    assert found.results[0].plain.first_match.tolist() == [2]
    assert found.counts["gallery"] == 4 and found.counts["gallery_junk"] == 1
    (shown,) = found.results[0].lists
    assert [(e.tracklet.person_id, e.correct) for e in shown.entries] == [(0, False), (1, True)]


def test_a_query_without_a_match_is_counted_and_not_averaged(tmp_path, encoder):
    data = three_cameras(tmp_path)
    lonely = tracklet(tmp_path, 9, 0, [(99, 99, 99)])
    found = evaluate(replace(data, query=(*data.query, lonely)), encoder, mean_head(encoder))
    assert found.counts["queries"] == 5 and found.counts["queries_with_a_match"] == 4
    assert figures(found.results[0].plain)["mAP"] == 1.0


def test_without_any_match_every_figure_is_null_and_none_is_nan(tmp_path, encoder):
    data = DataSet("lonely", (), (tracklet(tmp_path, 1, 0, [(9, 9, 9)]),), (tracklet(tmp_path, 2, 1, [(9, 9, 9)]),))
    found = evaluate(data, encoder, mean_head(encoder), EvaluationOptions(rerank=RerankSettings()))
    plain = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert set(plain["heads"][0]["figures"].values()) == {None}
    assert set(plain["heads"][0]["reranked"].values()) == {None}
    assert plain["heads"][0]["mAP_interval"] is None
    assert found.results[0].lists == ()


@pytest.mark.parametrize(("part", "named"), [("query", "queries"), ("gallery", "gallery entries")])
def test_an_empty_part_is_an_error_that_says_what_was_left_out(tmp_path, encoder, part, named):
    data = replace(three_cameras(tmp_path), **{part: ()}, skipped={"query without a second camera": 7})
    with pytest.raises(ConfigError, match=f"colours has no {named}.*7 × query without a second camera"):
        evaluate(data, encoder, mean_head(encoder))
    assert encoder.seen == 0


def test_what_cannot_be_read_is_left_out_counted_and_named(tmp_path, encoder, caplog):
    data = three_cameras(tmp_path, pictures=1)
    broken = data.gallery[0].images[0]
    broken.write_bytes(b"no picture")
    some = replace(data, skipped={"hidden file": 2})
    with caplog.at_level(logging.WARNING):
        found = evaluate(some, encoder, mean_head(encoder))
    assert found.skipped == {
        "hidden file": 2,
        "picture that cannot be read": 1,
        "tracklet without a readable picture": 1,
    }
    assert found.counts["gallery"] == 7 and str(broken) in caplog.text
    assert figures(found.results[0].plain)["rank1"] == 1.0


def test_a_missing_file_is_an_error_that_names_it(tmp_path, encoder):
    data = three_cameras(tmp_path)
    data.gallery[5].images[1].unlink()
    with pytest.raises(DecodeError, match=str(data.gallery[5].images[1])):
        evaluate(data, encoder, mean_head(encoder))


def test_tracklets_of_one_picture_are_enough(tmp_path, encoder):
    found = evaluate(three_cameras(tmp_path, pictures=1), encoder, mean_head(encoder))
    assert found.counts["pictures"] == 12
    assert figures(found.results[0].plain)["mAP"] == 1.0


def test_the_sampling_is_stated(tmp_path, encoder):
    how = EvaluationOptions(Sampling("dense", 2, most=9))
    stated = as_json(evaluate(three_cameras(tmp_path), encoder, mean_head(encoder), how))["sampling"]
    assert stated == {"kind": "dense", "frames": 2, "most": 9, "text": how.sampling.describe()}


def test_progress_tells_both_stages_to_their_end(tmp_path, encoder):
    told = []
    how = EvaluationOptions(rerank=RerankSettings())
    evaluate(three_cameras(tmp_path), encoder, mean_head(encoder), how, lambda *now: told.append(now))
    assert ("encode", 36, 36) in told and told[-1] == ("re-rank", 12, 12)


def test_equal_distances_are_ranked_in_gallery_order_in_figures_and_lists(tmp_path, encoder):
    query = tracklet(tmp_path, 1, 0, [(90, 90, 90)])
    wrong, right = (tracklet(tmp_path, person, 1, [(90, 90, 90)]) for person in (2, 1))
    for gallery, rank in (((wrong, right), 2), ((right, wrong), 1)):
        result = evaluate(DataSet("tied", (), (query,), gallery), encoder, mean_head(encoder)).results[0]
        assert result.plain.first_match.tolist() == [rank]
        assert [e.correct for e in result.lists[0].entries].index(True) == rank - 1


def test_a_tracklet_may_ask_twice(tmp_path, encoder):
    data = three_cameras(tmp_path)
    twice = replace(data, query=(data.query[0], data.query[0]))
    assert evaluate(twice, encoder, mean_head(encoder)).counts["queries"] == 2


def test_a_picture_that_is_in_two_tracklets_counts_in_both(tmp_path, encoder):
    one = tracklet(tmp_path, 1, 0, [(200, 0, 0)])
    same = ImageTracklet(1, 1, one.images)
    found = evaluate(DataSet("shared", (), (one,), (same,)), encoder, mean_head(encoder))
    assert figures(found.results[0].plain)["rank1"] == 1.0
