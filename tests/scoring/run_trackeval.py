"""TrackEval over a folder in its own layout, with the settings of its command for MOTChallenge; writes its CSV files.

    python run_trackeval.py FOLDER BENCHMARK

The package on the index comes without the command `run_mot_challenge`; this does what it does.
"""

import sys

import trackeval


def main(folder: str, benchmark: str) -> None:
    evaluator = trackeval.Evaluator({"PRINT_RESULTS": False, "PLOT_CURVES": False, "LOG_ON_ERROR": None})
    dataset = trackeval.datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": f"{folder}/gt",
            "TRACKERS_FOLDER": f"{folder}/trackers",
            "OUTPUT_FOLDER": f"{folder}/out",
            "BENCHMARK": benchmark,
        }
    )
    metrics = trackeval.metrics
    threshold = {"THRESHOLD": 0.5}
    evaluator.evaluate([dataset], [metrics.HOTA(), metrics.CLEAR(dict(threshold)), metrics.Identity(dict(threshold))])


if __name__ == "__main__":
    main(*sys.argv[1:])
