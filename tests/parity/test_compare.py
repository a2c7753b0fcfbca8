# SPDX-License-Identifier: MIT
"""Shows that each rule of compare.py can fail, and that the excuse holds only where it should. Needs no oracle."""

import json
import os
import tempfile
import unittest

import numpy as np

import compare
import lm_compare
import weights

WIDTH, DIMENSION, BINS, LEVELS, FRAMES = 12, 8, 40, 4, 60


def write_quantizer(path, rng):
    """A weight file with a quantizer alone. Rows 0 and 1 of every codebook are nearly the same: ties."""
    tensors = {}
    for branch, levels in (("rvq_first", 1), ("rvq_rest", LEVELS - 1)):
        tensors[f"quantizer.{branch}.input_proj.weight"] = rng.normal(0, 0.4, (DIMENSION, WIDTH, 1))
        for level in range(levels):
            book = f"quantizer.{branch}.vq.layers.{level}._codebook."
            rows = rng.normal(0, 0.9 ** level, (BINS, DIMENSION))
            rows[1] = rows[0] * (1 + 1e-6)
            tensors[book + "cluster_usage"] = np.full(BINS, 2.0)
            tensors[book + "embedding_sum"] = rows * 2
    header, data = {}, b""
    for name, values in tensors.items():
        raw = values.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": values.shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def quantize(quantizer, latent, forced=None):
    """Codes and residuals of one frame in f64; `forced` {level: code} takes the place of the nearest."""
    codes, residuals, residual = [], [], None
    for level in range(LEVELS):
        if level < 2:
            residual = quantizer.project(latent, level)
        residuals.append(residual)
        code = int(np.argmin(quantizer.distances(residual, level)))
        code = (forced or {}).get(level, code)
        codes.append(code)
        residual = residual - quantizer.books[level][code]
    return codes, residuals


class CompareCodes(unittest.TestCase):
    def setUp(self):
        rng = np.random.default_rng(7)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "q.safetensors")
            write_quantizer(path, rng)
            self.quantizer = weights.Quantizer(path)
        self.latent = rng.normal(0, 1.5, (FRAMES, 1, WIDTH)).astype(np.float32)
        self.put_tie(frame=5, level=0)
        self.put_tie(frame=9, level=1)
        both = [quantize(self.quantizer, self.latent[frame, 0]) for frame in range(FRAMES)]
        self.codes = np.array([[codes] for codes, _ in both], np.uint16)
        self.reference = {"codes": self.codes.astype(np.int64), "residual": np.array([[r] for _, r in both])}
        self.active = np.ones((FRAMES, 1), bool)
        self.assertIn(self.codes[5, 0, 0], (0, 1))
        self.assertIn(self.codes[9, 0, 1], (0, 1))

    def put_tie(self, frame, level):
        """Makes `frame`'s residual at this level lie beside the twin rows, equally far from both."""
        projection = self.quantizer.projections[0 if level == 0 else 1]
        row = self.quantizer.books[level][0]
        beside = np.roll(row, 1)
        beside -= row * (beside @ row) / (row @ row)
        self.latent[frame, 0] = np.linalg.pinv(projection) @ (row + 0.3 * beside)

    def compare(self, codes, latent=None):
        latent = self.latent if latent is None else latent
        return compare.compare_codes(self.quantizer, codes, latent, self.reference, self.active)

    def swapped(self, frame, level):
        """Our codes where the other twin was taken and later levels followed from it."""
        codes = self.codes.copy()
        twin = 1 - int(codes[frame, 0, level])
        codes[frame, 0] = quantize(self.quantizer, self.latent[frame, 0], {level: twin})[0]
        if level == 0:
            codes[frame, 0, 1:] = self.codes[frame, 0, 1:]
        return codes

    def test_equal(self):
        found = self.compare(self.codes)
        self.assertEqual((found.wrong, found.excused, found.compared), ([], 0, FRAMES * LEVELS))

    def test_fewer_codebooks(self):
        self.assertEqual(self.compare(self.codes[:, :, :1]).wrong, [])

    def test_wrong_code_at_each_level(self):
        for level in range(LEVELS):
            codes = self.codes.copy()
            codes[20, 0, level] = (codes[20, 0, level] + 3) % BINS
            self.assertEqual(len(self.compare(codes).wrong), 1, f"codebook {level}")

    def test_code_out_of_range(self):
        codes = self.codes.copy()
        codes[20, 0, 2] = 65535
        self.assertEqual(len(self.compare(codes).wrong), 1)

    def test_inactive_is_not_compared(self):
        codes = self.codes.copy()
        codes[20, 0, 2] = 65535
        self.active[20, 0] = False
        self.assertEqual(self.compare(codes).wrong, [])

    def test_tie_is_excused(self):
        for frame, level in ((5, 0), (9, 1)):
            found = self.compare(self.swapped(frame, level))
            self.assertEqual((found.wrong, found.excused), ([], 1))

    def test_wrong_code_after_a_tie(self):
        codes = self.swapped(9, 1)
        codes[9, 0, 3] = (codes[9, 0, 3] + 3) % BINS
        self.assertTrue(self.compare(codes).wrong)

    def test_wrong_latent_after_a_tie(self):
        latent = self.latent.copy()
        latent[9, 0] = -latent[9, 0]
        self.assertTrue(self.compare(self.swapped(9, 1), latent).wrong)

    def test_semantic_tie_excuses_no_acoustic_code(self):
        codes = self.swapped(5, 0)
        codes[5, 0, 2] = (codes[5, 0, 2] + 3) % BINS
        self.assertTrue(self.compare(codes).wrong)

    def test_number_that_may_be_excused(self):
        found = compare.Codes()
        found.compared = compare.EXCUSED_PER - 1
        self.assertEqual(found.allowed(), 0)
        found.compared = 3 * compare.EXCUSED_PER
        self.assertEqual(found.allowed(), 3)


class CompareNumbers(unittest.TestCase):
    def setUp(self):
        rng = np.random.default_rng(8)
        self.values = rng.normal(0, 1, (10, 2, 64)).astype(np.float32)
        self.active = np.ones((10, 2), bool)
        self.active[3, 1] = False

    def changed(self, step, row, value):
        other = self.values.copy()
        other[step, row, 7] = value
        return other

    def test_latent(self):
        error = compare.latent_error
        self.assertEqual(error(self.values, self.values, self.active), 0)
        self.assertLess(error(self.values * np.float32(1 + 5e-6), self.values, self.active), compare.LATENT)
        self.assertGreater(error(self.values * np.float32(1 + 2e-5), self.values, self.active), compare.LATENT)
        one = self.changed(4, 0, self.values[4, 0, 7] + 1e-4)
        self.assertGreater(error(one, self.values, self.active), compare.LATENT)
        self.assertEqual(error(self.changed(4, 0, np.nan), self.values, self.active), np.inf)
        self.assertEqual(error(self.changed(3, 1, np.nan), self.values, self.active), 0)

    def test_audio(self):
        error = compare.audio_error
        self.assertGreater(error(self.changed(4, 0, self.values[4, 0, 7] + 2e-4), self.values, self.active),
                           compare.AUDIO)
        self.assertEqual(error(self.changed(4, 0, np.nan), self.values, self.active), np.inf)
        self.assertEqual(error(self.changed(3, 1, 9), self.values, self.active), 0)

    def test_bits(self):
        same = compare.same_bits
        self.assertIsNone(same(self.values, self.values.copy(), self.active))
        near = np.nextafter(self.values[4, 0, 7], np.float32(9))
        self.assertIsNotNone(same(self.changed(4, 0, near), self.values, self.active))
        self.assertIsNotNone(same(self.changed(4, 0, -0.0), self.changed(4, 0, 0.0), self.active))
        self.assertIsNone(same(self.changed(3, 1, 9), self.values, self.active))
        self.assertIsNotNone(same(self.values[:9], self.values, self.active))
        self.assertIsNotNone(same(self.values, self.values, np.zeros((10, 2), bool)))

    def test_monotony(self):
        rng = np.random.default_rng(9)
        codes, active = rng.integers(0, 500, (100, 1, 3)), np.ones((100, 1), bool)
        self.assertIsNone(compare.monotony(codes, active, 500))
        constant = codes.copy()
        constant[:, 0, 1] = 17
        self.assertIn("codebook 1", compare.monotony(constant, active, 500))
        frequent = codes.copy()
        frequent[:40, 0, 2] = 17
        self.assertIn("codebook 2", compare.monotony(frequent, active, 500))


class CompareLanguageModels(unittest.TestCase):
    def setUp(self):
        rng = np.random.default_rng(10)
        self.text = rng.normal(0, 2, (30, 2, 50)).astype(np.float32)
        self.audio = rng.normal(0, 2, (30, 2, 3, 40)).astype(np.float32)
        self.text[7, 1, 4] = self.text[7, 1].max() * np.float32(1 + 5e-6)
        self.tie = int(np.argsort(self.text[7, 1])[-2])
        tokens = np.concatenate([self.text.argmax(axis=2)[:, :, None], self.audio.argmax(axis=3)], axis=2)
        self.reference = {"sampled": tokens.astype(np.int32), "text_logits": self.text, "audio_logits": self.audio}
        self.active = np.ones((30, 2), bool)
        self.active[3, 1] = False

    def judged(self, place, token):
        ours = self.reference["sampled"].copy()
        ours[place] = token
        places = lm_compare.first_differences(ours, self.reference["sampled"], self.active)
        self.assertEqual(places, [place])
        return lm_compare.judge(ours, self.reference, place, np.zeros(50, np.float32))[0]

    def test_logits(self):
        error = lm_compare.logit_error
        self.assertEqual(error(self.text, self.text, self.active), 0)
        self.assertGreater(error(self.text * np.float32(1 + 2e-4), self.text, self.active), lm_compare.LOGITS)
        one = self.audio.copy()
        one[4, 0, 2, 7] += 1e-2
        self.assertGreater(error(one, self.audio, self.active), lm_compare.LOGITS)
        one[4, 0, 2, 7] = np.nan
        self.assertEqual(error(one, self.audio, self.active), np.inf)
        self.assertEqual(error(self.text[:20], self.text, self.active), np.inf)
        nothing = np.full_like(self.text, np.nan)
        self.assertEqual(error(self.text, nothing, self.active), np.inf)

    def test_least_gap(self):
        logits = np.array([[[1, 4, 2], [3, 1, 2]], [[0, -5, 4.9999999], [2, 1, 9]]])
        self.assertAlmostEqual(lm_compare.least_gap(logits), 1 / 3)
        logits[0, 0] = [1, 4, 4 - 4e-6]
        self.assertLess(lm_compare.least_gap(logits), lm_compare.GAP)
        self.assertEqual(lm_compare.least_gap(np.zeros((3, 1, 0, 0))), np.inf)

    def test_logits_of_rounded_weights(self):
        error = lm_compare.rounding_error
        self.assertEqual(error(self.text, self.text, self.active), 0)
        self.assertGreater(error(self.text * np.float32(1.06), self.text, self.active), lm_compare.BF16)
        self.assertLess(error(self.text * np.float32(1.04), self.text, self.active), lm_compare.BF16)
        broken = self.text.copy()
        broken[4, 0, 7] = np.nan
        self.assertEqual(error(broken, self.text, self.active), np.inf)
        self.assertEqual(error(self.text[:20], self.text, self.active), np.inf)
        self.assertEqual(error(self.text, np.full_like(self.text, np.nan), self.active), np.inf)

    def test_logits_that_the_reference_has_not(self):
        known = self.audio.copy()
        known[:2] = np.nan
        self.assertEqual(lm_compare.logit_error(self.audio, known, self.active), 0)

    def test_probabilities(self):
        error = lm_compare.probability_error
        chances = np.full((30, 2, 2, 6), 1 / 6, np.float32)
        self.assertEqual(error(chances, chances, self.active), 0)
        self.assertGreater(error(chances + 2e-4, chances, self.active), lm_compare.EXTRA)
        self.assertEqual(error(chances[:, :, :1], chances, self.active), np.inf)

    def test_inactive_tokens_are_not_compared(self):
        ours = self.reference["sampled"].copy()
        ours[3, 1] = -2
        self.assertEqual(lm_compare.first_differences(ours, self.reference["sampled"], self.active), [])

    def test_tie_is_excused(self):
        self.assertIsNone(self.judged((7, 1, 0), self.tie))

    def test_wrong_tokens(self):
        self.assertIsNotNone(self.judged((7, 0, 0), int(self.text[7, 0].argmin())))
        self.assertIsNotNone(self.judged((9, 1, 3), int(np.argsort(self.audio[9, 1, 2])[-2])))
        self.assertIsNotNone(self.judged((9, 1, 3), 40))
        self.assertIsNotNone(self.judged((9, 1, 3), -2))

    def test_first_difference_of_each_row(self):
        ours = self.reference["sampled"].copy()
        ours[9:, 0] += 1
        ours[5, 1, 2] += 1
        ours[6, 1, 1] += 1
        places = lm_compare.first_differences(ours, self.reference["sampled"], self.active)
        self.assertEqual(places, [(9, 0, 0), (5, 1, 2)])

    def test_monotony(self):
        rng = np.random.default_rng(11)
        tokens, active = rng.integers(0, 500, (100, 1, 3)), np.ones((100, 1), bool)
        self.assertIsNone(lm_compare.monotony(tokens, active, [500] * 3))
        tokens[:80, 0, 1] = 17
        self.assertIn("stream 1", lm_compare.monotony(tokens, active, [500] * 3))

    def test_draws(self):
        rng = np.random.default_rng(12)
        chances = np.array([0.4, 0.3, 0.2, 0.1, 0.0])
        right = np.bincount(rng.choice(5, 3000, p=chances), minlength=5)
        self.assertIsNone(lm_compare.chi_square(right, chances))
        wrong = np.bincount(rng.choice(5, 3000, p=[0.45, 0.25, 0.2, 0.1, 0]), minlength=5)
        self.assertIsNotNone(lm_compare.chi_square(wrong, chances))
        self.assertIsNotNone(lm_compare.chi_square(right + [0, 0, 0, 0, 1], chances))
        self.assertIsNone(lm_compare.chi_square(np.array([10, 0]), np.array([1.0, 0.0])))
        self.assertIsNotNone(lm_compare.chi_square(np.array([10, 1]), np.array([1.0, 0.0])))


if __name__ == "__main__":
    unittest.main()
