"""What the programs that networks.py commands have in common: words on stdin, JSON lines on stdout.

load FILE…          read a network
score FILE COUNT    score images of an .npy file, COUNT at a time; answers with wall and processor time and the scores
memory              answers with the largest resident size so far [MB]
"""

import json
import resource
import sys
import time

import numpy as np

OBJECTNESS = 4
NUMBERS = 6
"""Of a box: x, y, width, height, objectness, the one class."""


def serve(version, load):
    """Answer commands until there are none.

    Parameters
    ----------
    version
        Version of the program.
    load
        Function of the paths of a network; returns the function that scores images (count, 3, side, side).
    """
    print(json.dumps({"version": version}), flush=True)
    score = None
    for line in sys.stdin:
        command, *given = line.split()
        if command == "load":
            score = load(*given)
            answer = {}
        elif command == "score":
            answer = timed(score, np.load(given[0]), int(given[1]))
        else:
            answer = {"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        print(json.dumps(answer), flush=True)


def timed(score, images, count):
    """Score `count` images at a time."""
    wall, processor = time.perf_counter(), time.process_time()
    found = [score(images[start : start + count]) for start in range(0, len(images), count)]
    seconds = {"seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - processor}
    return {**seconds, "scores": np.concatenate(found).tolist()}


def highest(outputs):
    """Highest objectness × class of each image; `outputs` are those of the heads, (count, anchors·6, rows, columns)."""
    boxes = [np.reshape(output, (len(output), -1, NUMBERS, *output.shape[2:])) for output in outputs]
    return np.max([(found[:, :, OBJECTNESS] * found[:, :, -1]).max(axis=(1, 2, 3)) for found in boxes], axis=0)
