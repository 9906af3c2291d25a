"""Recordings, and their features by librosa and scipy.

python 3.11, numpy 2.4.6, scipy 1.17.1, librosa 0.11.0, soundfile 0.14.0

Run in this folder: writes the recordings and `sounds.json`.
"""

import json

import librosa
import numpy as np
import scipy.signal
import soundfile

RATE = 8000
HOP = 80


def chirp(rate, seconds, loudness=0.001):
    """A rising tone with a weaker one above it, louder in the middle, in noise."""
    t = np.arange(int(rate * seconds)) / rate
    noise = np.random.default_rng(1).normal(size=len(t))
    tone = np.sin(2 * np.pi * (300 * t + 1500 * t**2)) + 0.3 * np.sin(2 * np.pi * 2100 * t)
    return 0.6 * np.sin(np.pi * t / seconds) ** 2 * tone + loudness * noise


def some(values, count=40):
    """Numbers at even distances."""
    places = np.linspace(0, len(values) - 1, count).round().astype(int)
    return {"length": len(values), "places": places.tolist(),
            "values": [float(f"{values[place]:.9g}") for place in places]}


def matrix(values):
    return [[float(f"{value:.9g}") for value in row] for row in values]


def decibels(y, sounds):
    mel = librosa.feature.melspectrogram(
        y=y, sr=sounds["rate"], n_fft=sounds["fft"], hop_length=sounds["hop"],
        win_length=sounds["window"], window="hann", center=True, pad_mode="constant", power=2.0,
        n_mels=sounds["mels"], fmin=sounds["lowest"], fmax=sounds["highest"],
        htk=sounds["scale"] == "htk", norm="slaney" if sounds["scale"] == "slaney" else None,
        dtype=np.float64)
    return librosa.power_to_db(mel, ref=1.0, amin=sounds["floor"], top_db=sounds.get("range"))


def features(y, sounds):
    bands = decibels(y, sounds)
    if "mfcc" in sounds:
        bands = librosa.feature.mfcc(S=bands, n_mfcc=sounds["mfcc"], dct_type=2, norm="ortho")
    if sounds["normalization"] != "none":
        bands = bands - bands.mean(axis=1, keepdims=True)
    if sounds["normalization"] == "standardize":
        bands = bands / bands.std(axis=1, keepdims=True)
    rows = [bands]
    for _ in range(sounds.get("deltas", 0)):
        rows.append(librosa.feature.delta(rows[-1], width=9, order=1, mode="nearest"))
    stacked = np.vstack(rows)
    columns = sounds["columns"]
    if columns["kind"] == "statistics":
        return np.stack([stacked.mean(axis=1), stacked.std(axis=1)], axis=1)
    if columns["kind"] == "bins":
        parts = np.array_split(np.repeat(stacked, columns["count"], axis=1), columns["count"], axis=1)
        return np.stack([part.mean(axis=1) for part in parts], axis=1)
    return stacked


def resampled(y, up, down):
    longest = max(up, down)
    taps = scipy.signal.firwin(2 * 32 * longest + 1, 1 / longest, window=("kaiser", 9.0))
    return scipy.signal.resample_poly(y, up, down, window=taps)


usual = {"rate": RATE, "window": 200, "hop": HOP, "fft": 256, "mels": 20, "scale": "slaney",
         "lowest": 0.0, "highest": 4000.0, "floor": 1e-10, "normalization": "none",
         "columns": {"kind": "frames", "count": 21}}
cases = [
    usual,
    usual | {"scale": "htk", "lowest": 100.0, "highest": 3800.0, "window": 256, "range": 60.0},
    usual | {"mfcc": 13, "deltas": 2, "columns": {"kind": "bins", "count": 6}},
    usual | {"normalization": "mean", "deltas": 1, "columns": {"kind": "bins", "count": 8}},
    usual | {"normalization": "standardize", "mels": 12},
    usual | {"mfcc": 20, "range": 80.0, "columns": {"kind": "statistics"}},
]

# As many samples as 21 frames have.
y = chirp(RATE, 20 * HOP / RATE)
soundfile.write("chirp.wav", y, RATE, subtype="PCM_16")
y, _ = soundfile.read("chirp.wav")
golden = {"features": [{"sounds": case, "values": matrix(features(y, case))} for case in cases]}

# Of frequencies that every rate below has, so that filters of another width do not matter.
high = chirp(44100, 0.06, loudness=0)
stereo = np.stack([high, 0.5 * high[::-1]], axis=1)
recordings = {}
for name, rate, samples, kind in [
    ("chirp.wav", RATE, y, "PCM_16"),
    ("chirp.flac", RATE, y, "PCM_16"),
    ("bytes.wav", RATE, y, "PCM_U8"),
    ("floats.wav", RATE, y, "FLOAT"),
    ("stereo-24.wav", 44100, stereo, "PCM_24"),
    ("stereo-24.flac", 44100, stereo, "PCM_24"),
    ("stereo-32.wav", 44100, stereo, "PCM_32"),
]:
    soundfile.write(name, samples, rate, subtype=kind)
    samples, rate = soundfile.read(name)
    mono = samples.mean(axis=1) if samples.ndim > 1 else samples
    recordings[name] = {"rate": rate, "samples": some(mono)}
golden["recordings"] = recordings

silence = np.zeros(1500)
quiet = np.concatenate([silence, y, silence])
_, edges = librosa.effects.trim(quiet, top_db=30, ref=np.max, frame_length=256, hop_length=HOP)
golden["trim"] = {"silence": 1500, "decibels": 30, "edges": [int(edge) for edge in edges],
                  "values": matrix(features(quiet[edges[0]:edges[1]], usual | {
                      "columns": {"kind": "bins", "count": 4}}))}

golden["resampled"] = []
for source, target, samples in [(8000, 16000, y), (44100, 16000, high), (44100, 8000, high)]:
    divisor = np.gcd(source, target)
    exact = resampled(samples, target // divisor, source // divisor)
    soxr = librosa.resample(samples, orig_sr=source, target_sr=target, res_type="soxr_vhq")
    golden["resampled"].append({
        "file": "chirp.wav" if source == 8000 else "high.wav", "rate": target,
        "scipy": some(exact), "soxr": some(soxr)})
soundfile.write("high.wav", high, 44100, subtype="FLOAT")

with open("sounds.json", "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
