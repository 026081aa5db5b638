"""The reasons of every link, as people read them."""

from search_examples import event, key, linked, site

from pipeline.search.history import History
from pipeline.search.why import why_text
from pipeline.types import Evidence


def text_of(*events):
    return why_text(History.of(events), 1)


def test_the_whole_report_of_an_identity():
    assert (
        why_text(History.of(*site()), 1)
        == """\
Why #1 is who it is: 3 tracks in 2 cameras

1. door, track 1: 0:02.0 to 0:08.4 (6.4 s)
   #1 entered door: nobody known, decided at 0:03.5 by the matcher
     there was nobody to compare with
     spoke: looks; 1 clip

2. hall, track 1: 0:12.0 to 0:13.0 (1.0 s)
   #4 entered hall: nobody known, decided at 0:13.5 by the matcher
     nearest allowed: distance of looks 0.410, cost with time, place and motion 0.430; above the threshold 0.400
     spoke: looks; 1 clip
     the next nearest was #2 at 0.500

3. door, track 3: 0:40.0 to 0:43.0 (3.0 s)
   #1 returned to door after 32 s, decided at 0:41.5 by the matcher
     distance of looks 0.200, cost with time, place and motion 0.150; 0.250 below the threshold 0.400
     spoke: looks; 1 clip
     the runner-up was #2 at 0.500, 0.350 behind

Corrections, in order:
  0:13.5  the matcher: merged #4 into #1 (distance 0.220, cost 0.150, threshold 0.400)"""
    )


def test_what_spoke_beside_looks_is_told():
    evidence = linked(
        transit_prior=0.2, place_m=0.437, clips=3, late=True, basis=("place", "appearance", "motion", "transit")
    )
    told = text_of(event(1, "handed_over", 1, key(1, "hall"), 9.0, via=("door",), evidence=evidence))
    assert "#1 went to hall from door" in told
    assert "spoke: place on the ground, looks, motion, time of the way; 3 clips; came late" in told
    assert "while both were seen they were 0.44 m apart on the ground" in told
    assert "plausibility of the time of the way: 0.20" in told


def test_everybody_who_was_ruled_out_is_told_with_the_reason():
    evidence = linked(runner_up=None, excluded=((5, "in this camera at the same time"), (7, "too far to walk")))
    told = text_of(event(1, "continued", 1, key(1), absent_s=1.5, evidence=evidence))
    assert "#5 was ruled out: in this camera at the same time" in told and "#7 was ruled out: too far to walk" in told
    assert "nobody else was allowed and known: no runner-up" in told
    assert "goes on in door after 1.5 s" in told


def test_a_link_above_the_threshold_is_not_called_below_it():
    told = text_of(event(1, "reassigned", 1, key(1), other_identity_id=3, evidence=linked(0.5, 0.55)))
    assert "cost with time, place and motion 0.550; above the threshold 0.400" in told


def test_a_new_person_below_the_threshold_is_told_as_it_was():
    told = text_of(event(1, "entered", 1, key(1), evidence=linked(0.3, 0.3)))
    assert "not above the threshold 0.400" in told


def test_events_from_before_costs_were_written_down_are_told_without():
    told = text_of(event(1, "reentered", 1, key(1), absent_s=9.0, evidence=Evidence(0.25, 0.4, (3, 0.31))))
    assert "distance of looks 0.250; 0.150 below the threshold 0.400" in told
    assert "the runner-up was #3 at 0.310\n" in told + "\n"


def test_an_operators_word_is_certain_and_corrections_keep_their_order():
    events = (
        event(1, "entered", 1, key(1), 0.0, evidence=linked(None, None, None)),
        event(2, "entered", 2, key(2), 10.0, evidence=linked(0.6, 0.6)),
        event(3, "reassigned", 1, key(2), 10.0, other_identity_id=2, by="operator"),
        event(4, "merged", 6, None, 20.0, other_identity_id=1, by="operator"),
        event(5, "split", 8, key(9), 30.0, other_identity_id=1, evidence=linked(0.5)),
    )
    told = text_of(*events)
    assert "   #2 entered door: nobody known, decided at 0:11.5 by the matcher\n     (later corrected)" in told
    assert "#1 was taken for #2 in door, decided at 0:11.5 by an operator\n     certain: an operator said so" in told
    order = [
        "an operator: reassigned door, track 2 from #2 to #1",
        "an operator: merged #6 into #1",
        "the matcher: split door, track 9 from #1: the new #8 (distance 0.500, cost 0.150, threshold 0.400)",
    ]
    places = [told.index(line) for line in order]
    assert places == sorted(places)


def test_a_name_and_live_epochs_are_shown():
    events = (
        event(1, "entered", 1, replace_epoch(key(1), "k3-1"), 0.0),
        event(2, "renamed", 1, name="visitor 12"),
    )
    told = text_of(*events)
    assert told.startswith("Why #1 “visitor 12” is who it is: 1 track in 1 camera")
    assert "door, track 1 of epoch k3-1" in told and "no evidence was written down" in told


def replace_epoch(track, epoch):
    return track._replace(epoch=epoch)


def test_a_merged_id_is_told_as_the_one_that_lives_on():
    told = why_text(History.of(*site()), 4)
    assert told.startswith("Why #1 is who it is") and "#4 was merged into it." in told


def test_an_identity_that_lost_all_its_tracks_has_its_corrections_only():
    events = (
        event(1, "entered", 1, key(1), 0.0),
        event(2, "reassigned", 2, key(1), 5.0, other_identity_id=1),
    )
    told = text_of(*events)
    assert told.startswith("Why #1 is who it is: 0 tracks in 0 cameras\n\nCorrections, in order:")
