"""Makes the event file of metrics.jsonl with TensorBoard's own writer, and checks event files.

    python tensorboard_events.py        writes the golden beside this file, and checks it
    python tensorboard_events.py RUN    checks that TensorBoard's reader gives back every scalar of
                                        the run in this folder, and no other

Versions: Python 3.11, tensorboard 2.21.0 (requirements.txt).
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

HERE = Path(__file__).parent
# Of two sessions, the first of which was killed: first and last step, start and end.
SESSIONS = [
    (0, 100, 1764121288.432, 1764121288.432),
    (100, 430, 1764124888.5, 1764124891.125),
]
OF_LINE = {"split", "span", "epoch", "step"}


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def scalars(line):
    for name in sorted(line.keys() - OF_LINE):
        if line[name] is None:
            continue
        if name == "learning-rate" and line["span"] == "steps":
            yield name, np.float32(line[name])
        elif line["split"] == "training" and line["span"] == "epoch":
            yield f"{name}/training-epochs", np.float32(line[name])
        else:
            yield f"{name}/{line['split']}", np.float32(line[name])


def time_of(step):
    first, last, start, end = next(s for s in reversed(SESSIONS) if s[0] < step)
    return start + (end - start) * ((step - first) / (last - first))


def write(path):
    with path.open("wb") as file:
        writer = RecordWriter(file)
        first = Event(wall_time=SESSIONS[0][2], file_version="brain.Event:2")
        writer.write(first.SerializeToString())
        for line in sorted(lines(HERE), key=lambda line: line["step"]):
            event = Event(wall_time=time_of(line["step"]), step=line["step"])
            event.summary.SetInParent()
            for tag, number in scalars(line):
                event.summary.value.add(tag=tag, simple_value=number)
            writer.write(event.SerializeToString())


def check(folder):
    (path,) = folder.glob("events.out.tfevents.*")
    expected = defaultdict(list)
    for line in sorted(lines(folder), key=lambda line: line["step"]):
        for tag, number in scalars(line):
            expected[tag].append((line["step"], number))
    events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    assert events.file_version == 2.0
    assert sorted(events.Tags()["scalars"]) == sorted(expected)
    times = []
    for tag, points in expected.items():
        assert [(point.step, point.value) for point in events.Scalars(tag)] == points, tag
        times += [(point.step, point.wall_time) for point in events.Scalars(tag)]
    # Later steps have later times.
    times = sorted(set(times))
    assert [time for _, time in times] == sorted(time for _, time in times)
    count = sum(len(points) for points in expected.values())
    print(f"{path.name}: {len(expected)} tags, {count} scalars, {path.stat().st_size} bytes, read back")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        check(Path(sys.argv[1]))
    else:
        write(HERE / "events.out.tfevents.1764121288.fireclay")
        check(HERE)
