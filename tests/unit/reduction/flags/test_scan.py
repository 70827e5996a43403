"""The scan of a frame against a plain loop over its pieces, whatever mask, type, zeros and limit values."""

import numpy as np
import pytest

from streamproc.reduction.flags.scan import BLOCK_ROWS, PIECE, TILE_ROWS, CountingScan, Scanner
from streamproc.reduction.passes import count_frame
from streamproc.reduction.tables import UnsplitTable

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


def told(scan):
    """Pieces whose figures are told: in tiles that are not plain, and in rows that do not vary."""
    plain = np.repeat(scan.plain, TILE_ROWS, axis=0)[:ROWS]
    return ~plain | ~scan.varied[:, None]


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "u4", "i8", "f4"])
@pytest.mark.parametrize("faults", [False, True])
@pytest.mark.parametrize("masked", [0.0, 0.1])
def test_figures_are_those_of_a_plain_loop(dtype, faults, masked):
    used = np.random.default_rng(1).random((ROWS, COLUMNS)) >= masked
    used[:, 64:128] &= np.arange(ROWS)[:, None] > 3  # pieces without a used pixel
    data = frame("i4" if dtype == "u1" else dtype, faults)
    data = np.minimum(data, 254).astype(dtype) if dtype == "u1" else data
    data[140] = 77  # a row without variation
    scan, expected = Scanner(used).scan(data.ravel(), LIMIT), plainly(data, used)
    assert told(scan)[140].all() and told(scan).any() and (dtype == "f4" or not told(scan).all())
    found = (*scan.of_pieces, *scan.counts)
    for got, figures in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(got, float)[told(scan)], figures[told(scan)])
    if dtype != "f4":
        starts = np.arange(0, ROWS, BLOCK_ROWS)
        plain = np.repeat(scan.plain, TILE_ROWS // BLOCK_ROWS, axis=0)[: starts.size]
        for got, figures in (
            (scan.of_blocks[0], np.add.reduceat(expected[0], starts)),
            (scan.of_blocks[1], np.maximum.reduceat(expected[1], starts)),
        ):
            np.testing.assert_array_equal(np.asarray(got, float)[plain], figures[plain])


@pytest.mark.parametrize("top", [8_191, 8_192, 59_999])
def test_sums_of_large_values_are_exact(top):
    """Small values add up in 16 bits; eight of these do not fit."""
    data = np.full((ROWS, COLUMNS), top, "u2")
    data[:, ::2] -= 1
    scan = Scanner(np.ones(data.shape, bool)).scan(data.ravel(), LIMIT)
    assert scan.plain.all() and scan.varied.all()
    assert scan.of_tiles[0].sum() == data.sum(dtype=np.int64) == scan.of_blocks[0].sum(dtype=np.int64)


@pytest.mark.parametrize("faults", [False, True])
@pytest.mark.parametrize("block", [10**6, 700, 90])
@pytest.mark.parametrize("high", [LIMIT, 45])
def test_counting_on_the_way_gives_the_same_counts_and_the_same_scan(faults, block, high):
    """Blocks of which the scan has seen that every pixel counts are added up without a look at each."""
    random = np.random.default_rng(3)
    used = random.random((ROWS, COLUMNS)) >= 0.1
    scanner, data = Scanner(used), frame("u2", faults).ravel()
    bins = np.where(used.ravel(), random.integers(0, 50, data.size), 50).astype(np.uint16)
    counting, results = CountingScan(scanner, LIMIT), []
    for count in (count_frame, counting):
        results.append(count(data, UnsplitTable(bins, 50), 0, high, block, 1.0))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
    plain = scanner.scan(data, LIMIT)
    assert counting.scan.checksum == plain.checksum
    np.testing.assert_array_equal(counting.scan.of_tiles[0], plain.of_tiles[0])


@pytest.mark.parametrize("height", [200_000, 400_000, 1_000_000_000])
@pytest.mark.parametrize("negative", [False, True])
def test_counts_that_32_bits_do_not_hold_are_added_up_exactly(height, negative):
    """All pixels in two bins: a bin, a band, or a pair of pixels overflows. What is negative does not count."""
    random = np.random.default_rng(4)
    data = random.integers(height, height + 900, (ROWS, COLUMNS)).astype(np.int32)
    if negative:
        data[20:110, 70:130] = -height
    bins = random.integers(0, 2, data.size).astype(np.uint16)
    counting, results = CountingScan(Scanner(np.ones(data.shape, bool)), 2**31), []
    for count in (count_frame, counting):
        results.append(count(data.ravel(), UnsplitTable(bins, 2), 0, 2**31, data.size, 1.0))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
    assert results[1][0].sum() == data[data > 0].sum(dtype=np.int64) > 2**32 - 1


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
                assert scan.of_tiles[0][t, p] == expected[0, rows, p].sum()
            assert scan.of_tiles[1][t, p] == expected[1, rows, p].max()
    assert scan.plain.any() and not scan.plain.all()


def test_any_count_that_changes_changes_the_checksum():
    scanner, data = Scanner(np.ones((ROWS, COLUMNS), bool)), frame("u2", True)
    before = scanner.scan(data.ravel(), LIMIT).checksum
    for place in ((0, 0), (10, 40), (149, 199), (70, 131)):
        changed = data.copy()
        changed[place] += 1
        assert scanner.scan(changed.ravel(), LIMIT).checksum != before or data[place] >= LIMIT
    assert scanner.scan(data.copy().ravel(), LIMIT).checksum == before
