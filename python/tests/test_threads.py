"""Other threads run while a call computes, decodes or loads, and may use the same objects."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from conftest import CAT

import vit_gpu


def longest_pause(call):
    """The longest time in which another Python thread did not run during a call, and the call's time."""
    pauses, stop = [0.0], threading.Event()

    def watch():
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            pauses.append(now - last)
            last = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    call()
    took = time.perf_counter() - start
    stop.set()
    watcher.join()
    return max(pauses), took, len(pauses)


def test_the_lock_is_released(classifier):
    files = [CAT.read_bytes()] * 400
    classifier.logits(files[:8])
    pause, took, turns = longest_pause(lambda: classifier.logits(files))
    assert turns > 20 and pause < took / 2, f"{turns} turns in {took:.3f} s, the longest pause took {pause:.3f} s"


def test_threads_share_a_classifier(classifier):
    generator = np.random.default_rng(1)
    batches = [generator.integers(0, 256, (5, 36, 48, 3), np.uint8) for _ in range(16)]
    expected = [classifier.logits(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(classifier.logits, batches))
    assert all((result == wanted).all() for result, wanted in zip(results, expected, strict=True))


def test_threads_of_the_processor_change_no_bit(classifier):
    alone = vit_gpu.Classifier(device="cpu", threads=1)
    assert (alone.logits(CAT) == classifier.logits(CAT)).all()


def test_objects_are_freed(classifier):
    before = sys.getrefcount(CAT)
    for _ in range(20):
        classifier([CAT] * 3)
    assert sys.getrefcount(CAT) <= before + 1
