"""Short recordings of rising, falling and steady tones, and one long recording of several.

python 3.11, numpy 2.4.6, soundfile 0.14.0

Run in this folder.
"""

import os

import numpy as np
import soundfile

RATE = 8000
INSTRUMENTS = {"flute": [1.0, 0.1], "organ": [1.0, 0.7, 0.5, 0.4], "reed": [0.4, 1.0, 0.2, 0.6]}
random = np.random.default_rng(7)


def tone(kind, harmonics, seconds=0.25):
    t = np.arange(int(RATE * seconds)) / RATE
    start = random.uniform(300, 700)
    end = start * {"rising": 1.6, "falling": 1 / 1.6, "steady": 1.0}[kind]
    phase = 2 * np.pi * np.cumsum(start + (end - start) * t / seconds) / RATE
    sound = sum(weight * np.sin((i + 1) * phase) for i, weight in enumerate(harmonics))
    sound = sound / np.abs(sound).max() * np.sin(np.pi * t / seconds) ** 0.5
    return random.uniform(0.3, 0.8) * sound + 0.01 * random.normal(size=len(t))


for kind in ["rising", "falling", "steady"]:
    os.makedirs(f"tones/{kind}", exist_ok=True)
    for instrument, harmonics in INSTRUMENTS.items():
        for index in range(6):
            soundfile.write(f"tones/{kind}/{instrument}_{index}.wav", tone(kind, harmonics), RATE,
                            subtype="PCM_U8")

silence = 0.005 * random.normal(size=RATE // 4)
parts = []
for kind in ["rising", "steady", "falling", "rising"]:
    parts += [tone(kind, INSTRUMENTS["organ"]), silence]
soundfile.write("melody.flac", np.concatenate(parts), RATE, subtype="PCM_16")
