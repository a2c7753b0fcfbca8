# SPDX-License-Identifier: MIT
"""Reads what the page recorded, and finds how much later the right side says what the left side said. Writes what the
browser's microphone plays."""
import array
import math
import sys
import wave

ENVELOPE_HZ = 200


def read(path):
    """Rate, left and right, as floats."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2), (file.getnchannels(), file.getsampwidth())
        rate = file.getframerate()
        data = array.array("h", file.readframes(file.getnframes()))
    if sys.byteorder == "big":
        data.byteswap()
    return rate, [v / 32768 for v in data[0::2]], [v / 32768 for v in data[1::2]]


def write_with_pauses(source, target, speech_s=4, pause_s=2.5):
    """A copy of a mono recording with pauses in it, which the parrot's text tells of."""
    with wave.open(str(source)) as file, wave.open(str(target), "wb") as out:
        out.setparams(file.getparams())
        rate, width = file.getframerate(), file.getsampwidth() * file.getnchannels()
        while data := file.readframes(round(speech_s * rate)):
            out.writeframes(data + bytes(width * round(pause_s * rate)))


def envelope(samples, rate):
    """How loud it is, 200 times a second, in dB above a floor: a voice's rhythm, whatever a codec does to its waves."""
    step = rate // ENVELOPE_HZ
    assert step * ENVELOPE_HZ == rate, rate
    blocks = (samples[start : start + step] for start in range(0, len(samples) - step + 1, step))
    powers = [sum(v * v for v in block) / step for block in blocks]
    return [max(0.0, 10 * math.log10(power + 1e-9) + 60) for power in powers]


def correlation(left, right, lag):
    """Of left[n] with right[n + lag], from -1 to 1."""
    pairs = list(zip(left[: len(right) - lag], right[lag:]))
    if len(pairs) < ENVELOPE_HZ:
        return 0.0
    mean_l, mean_r = (sum(side) / len(pairs) for side in zip(*pairs))
    covariance = sum((a - mean_l) * (b - mean_r) for a, b in pairs)
    power_l = sum((a - mean_l) ** 2 for a, _ in pairs)
    power_r = sum((b - mean_r) ** 2 for _, b in pairs)
    return covariance / math.sqrt(power_l * power_r) if power_l > 0 and power_r > 0 else 0.0


def delay(left, right, least=0.0, most=4.0):
    """Seconds by which `right` is later, and how alike they are then; of envelopes."""
    lags = range(round(least * ENVELOPE_HZ), round(most * ENVELOPE_HZ) + 1)
    values = {lag: correlation(left, right, lag) for lag in lags}
    best = max(values, key=values.get)
    before, here, after = (values.get(best + step, values[best]) for step in (-1, 0, 1))
    bend = before - 2 * here + after
    part = 0.5 * (before - after) / bend if bend < 0 else 0.0  # the top of the parabola through the three
    return (best + part) / ENVELOPE_HZ, here
