"""Score images with OpenCV's DNN module on command; for classifying.py, in an environment of its own.

Commands come on stdin, answers are JSON lines.

load CFG WEIGHTS    read a network of Darknet
score FILE COUNT    score COUNT images of an .npy file at a time; answers with wall and processor time and the scores
memory              answers with the largest resident size so far [MB]
"""

import json
import resource
import sys
import time

import cv2
import numpy as np

OBJECTNESS = 4
loaded: dict[str, object] = {}


def load(cfg: str, weights: str) -> dict:
    """Read the network as any user of OpenCV does."""
    loaded["network"] = cv2.dnn.readNetFromDarknet(cfg, weights)
    loaded["heads"] = loaded["network"].getUnconnectedOutLayersNames()
    return {}


def score(path: str, count: str) -> dict:
    """Highest objectness × class of each image: of one class, so it is the column behind the objectness."""
    images, found = np.load(path), []
    network, heads, step = loaded["network"], loaded["heads"], int(count)
    wall, processor = time.perf_counter(), time.process_time()
    for start in range(0, len(images), step):
        part = images[start : start + step]
        network.setInput(part)
        boxes = [np.reshape(output, (len(part), -1, OBJECTNESS + 2)) for output in network.forward(heads)]
        found += np.concatenate(boxes, axis=1)[:, :, OBJECTNESS + 1].max(axis=1).tolist()
    return {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "scores": found,
    }


def memory() -> dict:
    """Largest resident size."""
    return {"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    """Answer commands until there are none."""
    cv2.setNumThreads(int(sys.argv[1]))
    print(json.dumps({"version": cv2.__version__}), flush=True)
    commands = {"load": load, "score": score, "memory": memory}
    for line in sys.stdin:
        name, *given = line.split()
        print(json.dumps(commands[name](*given)), flush=True)


if __name__ == "__main__":
    main()
