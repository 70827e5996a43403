"""The scan of a frame against a plain loop over its pieces, whatever mask, type, zeros and limit values."""

import numpy as np
import pytest

from streamproc.reduction.flags.scan import PIECE, TILE_ROWS, Scanner

ROWS, COLUMNS, LIMIT = 150, 200, 60_000


def frame(dtype, faults):
    random = np.random.default_rng(7)
    data = random.poisson(40, (ROWS, COLUMNS)).astype(dtype)
    if faults:
        data[10:20, 30:90] = 0
        data[70, 130:140] = LIMIT + 5
        data[5] = 0
        if np.dtype(dtype).kind != "u":
            data[100:103, 60:70] = -3
    return data


def plainly(data, used):
    """Sum, top, zeros, lows and highs of each piece, pixel by pixel."""
    pieces = -(-COLUMNS // PIECE)
    out = np.zeros((5, ROWS, pieces))
    for r in range(ROWS):
        for c in range(COLUMNS):
            if not used[r, c]:
                continue
            v, p = float(data[r, c]), c // PIECE
            if v == 0:
                out[2, r, p] += 1
            elif v < 0:
                out[3, r, p] += 1
            elif v >= LIMIT:
                out[4, r, p] += 1
            else:
                out[0, r, p] += v
                out[1, r, p] = max(out[1, r, p], v)
    return out


@pytest.mark.parametrize("dtype", ["u2", "i4", "u4", "i8", "f4"])
@pytest.mark.parametrize("faults", [False, True])
@pytest.mark.parametrize("masked", [0.0, 0.1])
def test_figures_are_those_of_a_plain_loop(dtype, faults, masked):
    used = np.random.default_rng(1).random((ROWS, COLUMNS)) >= masked
    used[:, 64:128] &= np.arange(ROWS)[:, None] > 3  # pieces without a used pixel
    data = frame(dtype, faults)
    scan = Scanner(used).scan(data.ravel(), LIMIT)
    found = (scan.sums, scan.tops, scan.zeros, scan.lows, scan.highs)
    for got, expected in zip(found, plainly(data, used), strict=True):
        np.testing.assert_array_equal(np.asarray(got, float), expected)


@pytest.mark.parametrize("masked", [0.0, 0.1])
def test_plain_tiles_are_those_without_zeros_negative_and_limit_values(masked):
    used = np.random.default_rng(1).random((ROWS, COLUMNS)) >= masked
    data = frame("i4", True)
    scan = Scanner(used).scan(data.ravel(), LIMIT)
    expected = plainly(data, used)
    for t in range(-(-ROWS // TILE_ROWS)):
        rows = slice(t * TILE_ROWS, (t + 1) * TILE_ROWS)
        for p in range(scan.plain.shape[1]):
            assert scan.plain[t, p] == (expected[2:, rows, p].sum() == 0)
            if scan.plain[t, p]:
                assert scan.tile_sums[t, p] == expected[0, rows, p].sum()
                assert scan.tile_tops[t, p] == expected[1, rows, p].max()
    assert scan.plain.any() and not scan.plain.all()


def test_any_count_that_changes_changes_the_checksum():
    scanner, data = Scanner(np.ones((ROWS, COLUMNS), bool)), frame("u2", True)
    before = scanner.scan(data.ravel(), LIMIT).checksum
    for place in ((0, 0), (10, 40), (149, 199), (70, 131)):
        changed = data.copy()
        changed[place] += 1
        assert scanner.scan(changed.ravel(), LIMIT).checksum != before or data[place] >= LIMIT
    assert scanner.scan(data.copy().ravel(), LIMIT).checksum == before
