import json

import numpy as np
import pytest

from pipeline.runtime.latency import LatencyRecorder


@pytest.mark.parametrize("scale_s", [0.0005, 0.04, 3.0])
def test_percentiles_agree_with_numpy_within_a_bucket(scale_s):
    values = np.random.default_rng(0).lognormal(np.log(scale_s), 0.8, 5000)
    recorder = LatencyRecorder()
    for value in values:
        recorder.record("detect", float(value))
    summary = recorder.summary()["detect"]
    for name, percent in (("p50_s", 50), ("p95_s", 95), ("p99_s", 99)):
        assert summary[name] == pytest.approx(np.percentile(values, percent, method="inverted_cdf"), rel=0.026)
    assert summary["count"] == 5000
    assert summary["mean_s"] == pytest.approx(values.mean())
    assert (summary["min_s"], summary["max_s"]) == (values.min(), values.max())


def test_one_value_is_all_its_percentiles():
    recorder = LatencyRecorder()
    recorder.record("a", 0.123)
    summary = recorder.summary()["a"]
    assert {summary[k] for k in ("mean_s", "p50_s", "p95_s", "p99_s", "min_s", "max_s")} == {0.123}


def test_nothing_recorded_gives_nothing():
    assert LatencyRecorder().summary() == {}
    assert LatencyRecorder().to_json() == {}


def test_memory_stays_bounded_whatever_is_recorded():
    recorder = LatencyRecorder()
    for value in np.random.default_rng(1).uniform(-9, 9, 20000):
        recorder.record("a", float(10**value))
    assert len(recorder.to_json()["a"]["counts"]) <= 380


def test_merging_two_processes_equals_recording_in_one():
    values = np.random.default_rng(2).lognormal(-3, 1, 400)
    whole, parts = LatencyRecorder(), [LatencyRecorder(), LatencyRecorder()]
    for i, value in enumerate(values):
        whole.record("a", float(value))
        parts[i % 2].record("a", float(value))
    merged = LatencyRecorder()
    merged.record("b", 1.0)
    for part in parts:
        merged.merge(json.loads(json.dumps(part.to_json())))
    got, want = merged.summary(), whole.summary()
    assert got["a"].pop("mean_s") == pytest.approx(want["a"].pop("mean_s"))
    assert got["a"] == want["a"]
    assert got["b"]["count"] == 1


def test_a_negative_age_counts_as_the_smallest_and_is_visible():
    recorder = LatencyRecorder()
    recorder.record("age", -0.5)
    recorder.record("age", 1.0)
    summary = recorder.summary()["age"]
    assert summary["min_s"] == -0.5 and summary["p50_s"] <= 1e-5 and summary["p99_s"] == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="finite"):
        LatencyRecorder().record("a", value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        None,
        {"counts": {}, "sum_s": 0, "min_s": 0, "max_s": 0},
        {"counts": {"9999": 1}, "sum_s": 0, "min_s": 0, "max_s": 0},
        {"counts": {"1": -1}, "sum_s": 0, "min_s": 0, "max_s": 0},
    ],
)
def test_a_bad_record_is_refused_as_a_whole(value):
    recorder = LatencyRecorder()
    good = LatencyRecorder()
    good.record("a", 1.0)
    with pytest.raises(ValueError, match="latency of b"):
        recorder.merge({**good.to_json(), "b": value})
    assert recorder.summary() == {}


def test_measure_takes_the_time_of_a_block_that_succeeds():
    times = iter([1.0, 1.25, 2.0])
    recorder = LatencyRecorder(monotonic=lambda: next(times))
    with recorder.measure("a"):
        pass
    with pytest.raises(KeyError), recorder.measure("b"):
        raise KeyError
    assert recorder.summary()["a"]["max_s"] == 0.25
    assert "b" not in recorder.summary()
