"""Score images with OpenCV's DNN module on command, see serving.py; in an environment of its own.

python opencv_scores.py THREADS
"""

import sys

import cv2
import numpy as np
from serving import NUMBERS, serve


def load(cfg, weights):
    """Read the network as any user of OpenCV does."""
    network = cv2.dnn.readNetFromDarknet(cfg, weights)
    heads = network.getUnconnectedOutLayersNames()

    def score(images):
        """OpenCV's last column is objectness × class already."""
        network.setInput(images)
        boxes = [np.reshape(output, (len(images), -1, NUMBERS)) for output in network.forward(heads)]
        return np.concatenate(boxes, axis=1)[:, :, -1].max(axis=1)

    return score


if __name__ == "__main__":
    cv2.setNumThreads(int(sys.argv[1]))
    serve(cv2.__version__, load)
