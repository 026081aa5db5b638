import os
import threading

from pipeline.runtime.health import HealthBoard, process_measures


def test_a_snapshot_says_who_when_and_what():
    board = HealthBoard("worker", "door", pid=7, clock=lambda: 12.5, measure=lambda: {"rss_mb": 40})
    assert board.set_state("stalled", "no packet for 5.0 s", epoch="e2")
    board.count("frames", 3)
    board.count("frames")
    board.gauge("fps", 9.5)
    health = board.snapshot()
    assert (health.role, health.name, health.pid, health.at_s) == ("worker", "door", 7, 12.5)
    assert (health.state, health.detail, health.epoch) == ("stalled", "no packet for 5.0 s", "e2")
    assert health.counters == {"frames": 4.0, "fps": 9.5, "rss_mb": 40.0}


def test_a_new_board_is_starting_without_counters():
    health = HealthBoard("matcher", "site").snapshot()
    assert (health.state, health.epoch, dict(health.counters), health.pid) == ("starting", "", {}, os.getpid())


def test_setting_the_same_state_again_is_no_change_and_keeps_the_epoch():
    board = HealthBoard("worker", "door")
    assert board.set_state("running", epoch="e1")
    assert not board.set_state("running")
    assert board.set_state("running", "slow")
    assert board.snapshot().epoch == "e1"


def test_a_snapshot_does_not_change_afterwards_and_two_boards_do_not_mix():
    board, other = HealthBoard("worker", "a"), HealthBoard("worker", "b")
    board.count("frames")
    before = board.snapshot()
    board.count("frames")
    assert before.counters["frames"] == 1
    assert other.snapshot().counters == {}


def test_counting_from_many_threads_loses_nothing():
    board = HealthBoard("worker", "door")
    threads = [threading.Thread(target=lambda: [board.count("n") for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert board.snapshot().counters["n"] == 8000


def test_measures_of_this_process_are_plausible_and_those_of_none_are_empty():
    measures = process_measures()
    assert 5 < measures["rss_mb"] < 10000
    assert measures["threads"] >= 1 and measures["open_files"] >= 3 and measures["cpu_s"] > 0
    assert process_measures(2**22 + 5) == {}
