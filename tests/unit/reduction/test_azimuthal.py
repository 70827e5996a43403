"""The azimuthal plan against pyFAI, closed forms and Monte Carlo."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.reduction.azimuthal import AzimuthalPlan, PlanOptions
from streamproc.reduction.correction import Correction
from streamproc.reduction.geometry import load_geometry
from streamproc.reduction.kernels import MAX_PIXELS_PER_BLOCK

SHAPE = (180, 211)


def pyfai(geometry, correction, options, frame, mask=None, cake=False):
    """Integrate with pyFAI itself: same settings, its own engines and its own corrections."""
    integrator = geometry.integrator()
    same = dict(  # noqa: C408 (reads as the call it becomes)
        unit=options.unit,
        mask=correction.mask if mask is None else mask,
        dark=correction.dark,
        flat=correction.flat,
        polarization_factor=correction.polarization_factor,
        correctSolidAngle=correction.solid_angle,
        radial_range=options.radial_range,
        error_model="poisson",
        method=(options.splitting, "csr", "cython"),
    )
    if cake:
        return integrator.integrate2d(
            frame, options.bins, options.azimuth_bins, azimuth_range=(-180, 180), **same
        )
    return integrator.integrate1d(frame, options.bins, **same)


def assert_same(profile, reference, rtol=1e-5):
    used = reference.count > 0
    np.testing.assert_allclose(profile.axis, reference.radial, rtol=1e-9)
    scale = np.abs(reference.intensity[used]).max()
    np.testing.assert_allclose(profile.intensity[used], reference.intensity[used], rtol, atol=1e-6 * scale)
    np.testing.assert_allclose(profile.sigma[used], reference.sigma[used], rtol)
    np.testing.assert_allclose(profile.counts, reference.count, rtol, atol=1e-4)
    np.testing.assert_allclose(profile.normalisation, reference.sum_normalization, rtol, atol=1e-4)
    assert np.isnan(profile.intensity[~used]).all()


@pytest.mark.parametrize("splitting", ["no", "bbox"])
@pytest.mark.parametrize("unit", ["2th_deg", "q_A^-1"])
@pytest.mark.parametrize("radial_range", [None, (2.0, 6.0)])
def test_intensity_and_variance_are_those_of_pyfai_with_all_corrections(
    geometry, correction, frame, splitting, unit, radial_range
):
    options = PlanOptions(bins=150, unit=unit, splitting=splitting, radial_range=radial_range)
    plan = AzimuthalPlan.build(geometry, correction, options)
    assert_same(plan.integrate(frame), pyfai(geometry, correction, options, frame))


@pytest.mark.parametrize("polarization_factor", [None, 0.0, -0.7])
@pytest.mark.parametrize("solid_angle", [True, False])
def test_polarisation_and_solid_angle_follow_pyfais_conventions(
    geometry, correction, frame, polarization_factor, solid_angle
):
    correction = replace(correction, polarization_factor=polarization_factor, solid_angle=solid_angle)
    options = PlanOptions(bins=100)
    profile = AzimuthalPlan.build(geometry, correction, options).integrate(frame)
    assert_same(profile, pyfai(geometry, correction, options, frame))


@pytest.mark.parametrize(
    "dtype", ["u1", "u2", "u4", "i2", "i4", "i8", "u8", "f2", "f4", "f8", ">u2", ">i4", ">f4"]
)
@pytest.mark.parametrize("splitting", ["no", "bbox"])
def test_every_dtype_and_byte_order_gives_the_same_pattern(geometry, correction, frame, dtype, splitting):
    plan = AzimuthalPlan.build(geometry, correction, PlanOptions(bins=80, splitting=splitting))
    frame = np.minimum(frame, 250)
    expected, got = plan.integrate(frame), plan.integrate(frame.astype(dtype))
    np.testing.assert_allclose(got.intensity, expected.intensity, rtol=1e-12)
    np.testing.assert_allclose(got.variance, expected.variance, rtol=1e-12)


def test_a_read_only_unaligned_frame_is_taken_as_it_is(geometry, frame):
    plan = AzimuthalPlan.build(geometry, options=PlanOptions(bins=80))
    raw = b"\0" + frame.tobytes()
    unaligned = np.frombuffer(raw, np.uint16, offset=1).reshape(SHAPE)
    assert not unaligned.flags.aligned and not unaligned.flags.writeable
    assert np.array_equal(
        plan.integrate(unaligned).intensity, plan.integrate(frame).intensity, equal_nan=True
    )


def test_frames_that_are_views_with_strides_are_read_right(geometry, frame):
    plan = AzimuthalPlan.build(geometry, options=PlanOptions(bins=80))
    strided = np.repeat(frame, 2, axis=1)[:, ::2]
    fortran = np.asfortranarray(frame)
    for view in (strided, fortran):
        assert np.array_equal(plan.integrate(view).signal, plan.integrate(frame).signal)


@pytest.mark.parametrize("splitting", ["no", "bbox"])
@pytest.mark.parametrize(
    ("dtype", "bad", "extra"),
    [
        ("u2", 65535, {}),
        ("u4", 2**32 - 1, {}),
        ("i4", -1, {}),
        ("i2", -2, {}),
        ("f4", np.nan, {}),
        ("f4", 3.4e38, {}),
        ("f8", -1e200, {}),
        ("f8", np.inf, {}),
        ("f8", -np.inf, {}),
        ("u2", 60000, {"saturation": 60000}),
        ("i4", 60001, {"saturation": 60000.5}),
    ],
)
def test_a_pixel_unusable_in_this_frame_counts_as_masked(
    geometry, correction, frame, rng, splitting, dtype, bad, extra
):
    options = PlanOptions(bins=90, splitting=splitting, radial_range=(1.0, 25.0))
    plan = AzimuthalPlan.build(geometry, replace(correction, **extra), options)
    dead = rng.random(SHAPE) < 0.1
    broken = frame.astype(dtype)
    broken[dead] = bad
    profile = plan.integrate(broken)
    assert_same(profile, pyfai(geometry, correction, options, frame, mask=correction.mask | dead))
    if splitting == "no":
        assert profile.counts.sum() + profile.n_masked == plan.integrate(frame).counts.sum()


def test_negative_values_count_where_the_settings_say_so(geometry, frame):
    correction = Correction(mask_negative=False)
    options = PlanOptions(bins=90)
    shifted = frame.astype(np.int32) - 3
    profile = AzimuthalPlan.build(geometry, correction, options).integrate(shifted)
    assert_same(profile, pyfai(geometry, correction, options, shifted, mask=np.zeros(SHAPE, bool)))


def test_a_bin_whose_pixels_are_all_masked_is_nan_and_not_zero(geometry, frame):
    plan = AzimuthalPlan.build(geometry, Correction(saturation=1), PlanOptions(bins=90))
    profile = plan.integrate(np.full(SHAPE, 7, np.uint16))
    assert np.isnan(profile.intensity).all() and np.isnan(profile.sigma).all()
    assert profile.n_masked == SHAPE[0] * SHAPE[1]


@pytest.mark.parametrize("splitting", ["no", "bbox"])
def test_the_cake_is_pyfais(geometry, correction, frame, splitting):
    options = PlanOptions(bins=60, azimuth_bins=36, splitting=splitting)
    correction = replace(
        correction, dark=None
    )  # pyFAI adds the dark to the variance in 2-D, though not in 1-D
    cake = AzimuthalPlan.build(geometry, correction, options).cake(frame)
    reference = pyfai(geometry, correction, options, frame, cake=True)
    used = reference.count.T > 1e-3
    np.testing.assert_allclose(cake.azimuthal, reference.azimuthal, atol=1e-6)
    np.testing.assert_allclose(cake.radial, reference.radial, rtol=1e-9)
    np.testing.assert_allclose(cake.intensity[used], reference.intensity.T[used], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cake.sigma[used], reference.sigma.T[used], rtol=1e-5)


@pytest.mark.parametrize("dark_from_run", [False, True])
def test_the_profile_of_a_cake_is_its_exact_row_sum_and_the_plain_profile(
    geometry, correction, frame, rng, dark_from_run
):
    plan = AzimuthalPlan.build(geometry, correction, PlanOptions(bins=60, azimuth_bins=36))
    dark = rng.poisson(2, SHAPE).astype(np.uint16) if dark_from_run else None
    cake, plain = plan.cake(frame, dark), plan.integrate(frame, dark)
    for name in ("signal", "signal_variance", "normalisation", "counts"):
        assert np.array_equal(getattr(cake, name).sum(axis=1), getattr(cake.profile, name))
    np.testing.assert_allclose(cake.profile.intensity, plain.intensity, rtol=1e-12)
    np.testing.assert_allclose(cake.profile.sigma, plain.sigma, rtol=1e-12)


def test_the_profile_of_a_split_cake_is_the_plain_profile(geometry, correction, frame):
    plan = AzimuthalPlan.build(geometry, correction, PlanOptions(bins=60, azimuth_bins=36, splitting="bbox"))
    cake, plain = plan.cake(frame), plan.integrate(frame)
    assert np.array_equal(cake.profile.intensity, plain.intensity, equal_nan=True)
    np.testing.assert_allclose(cake.signal.sum(axis=1), plain.signal, rtol=1e-5)


def test_a_stack_averages_to_the_mean_frame_with_the_variance_of_the_mean(geometry, correction, rng):
    stack = rng.poisson(9, (5, *SHAPE)).astype(np.uint16)
    plan = AzimuthalPlan.build(geometry, correction, PlanOptions(bins=70))
    singles = [plan.integrate(image) for image in stack]
    mean = plan.integrate(stack)
    np.testing.assert_allclose(mean.intensity, np.mean([s.intensity for s in singles], axis=0), rtol=1e-12)
    np.testing.assert_allclose(mean.variance, np.sum([s.variance for s in singles], axis=0) / 25, rtol=1e-12)
    assert mean.n_frames == 5


def test_a_summed_stack_is_the_number_of_frames_times_its_mean(geometry, correction, rng):
    stack = rng.poisson(9, (4, *SHAPE)).astype(np.uint16)
    mean = AzimuthalPlan.build(geometry, correction, PlanOptions(bins=70)).integrate(stack)
    total = AzimuthalPlan.build(geometry, correction, PlanOptions(bins=70, stack="sum")).integrate(stack)
    np.testing.assert_allclose(total.intensity, 4 * mean.intensity, rtol=1e-12)
    np.testing.assert_allclose(total.sigma, 4 * mean.sigma, rtol=1e-12)


def test_a_pixel_saturated_in_one_frame_of_a_stack_leaves_only_that_frame(geometry, rng):
    stack = rng.poisson(50, (3, *SHAPE)).astype(np.uint16)
    stack[1, 40:60, 50:90] = 65535
    plan = AzimuthalPlan.build(geometry, options=PlanOptions(bins=70))
    singles = [plan.integrate(image) for image in stack]
    signal, norm = (sum(getattr(s, name) for s in singles) for name in ("signal", "normalisation"))
    np.testing.assert_allclose(plan.integrate(stack).intensity, signal / norm, rtol=1e-12)


@pytest.mark.parametrize("splitting", ["no", "bbox"])
def test_a_dark_of_the_run_is_subtracted_and_its_variance_added(geometry, correction, frame, rng, splitting):
    options = PlanOptions(bins=70, splitting=splitting, radial_range=(1.0, 25.0))
    plan = AzimuthalPlan.build(geometry, correction, options)
    dark = rng.poisson(4, SHAPE).astype(np.uint16)
    own = replace(correction, dark=dark)
    reference = pyfai(geometry, own, options, frame)
    profile = plan.integrate(frame, dark)
    np.testing.assert_allclose(profile.intensity, reference.intensity, rtol=1e-5, atol=1e-5)
    dark_only = AzimuthalPlan.build(geometry, replace(correction, dark=None), options).integrate(dark)
    np.testing.assert_allclose(
        profile.signal_variance, reference.sum_variance + dark_only.signal_variance, rtol=1e-5
    )


def test_a_pixel_dead_in_the_dark_of_the_run_is_not_used(geometry, frame):
    plan = AzimuthalPlan.build(
        geometry, Correction(hot_dark_above=100), PlanOptions(bins=70, radial_range=(1, 25))
    )
    dark = np.zeros(SHAPE, np.uint16)
    dark[10:20, 30:50], dark[60, 70] = 65535, 101
    mask = dark > 100
    masked = AzimuthalPlan.build(geometry, Correction(mask=mask), PlanOptions(bins=70, radial_range=(1, 25)))
    assert np.array_equal(plan.integrate(frame, dark).counts, masked.integrate(frame).counts)
    assert np.array_equal(plan.integrate(frame, dark).signal, masked.integrate(frame).signal)


def test_a_repeated_or_changed_dark_always_gives_its_own_numbers(geometry, frame, rng):
    plan = AzimuthalPlan.build(geometry, options=PlanOptions(bins=70))
    first, second = (rng.poisson(5, SHAPE).astype(np.uint16) for _ in range(2))
    first.flags.writeable = False
    expected = [plan.integrate(frame, d).signal.copy() for d in (first, second)]
    for dark, signal in zip([first, second, second, first], [expected[i] for i in (0, 1, 1, 0)], strict=True):
        assert np.array_equal(plan.integrate(frame, dark).signal, signal)
    second += 1
    assert not np.array_equal(plan.integrate(frame, second).signal, expected[1])


def test_sigma_is_the_scatter_of_repeated_measurements_with_a_run_dark(geometry, correction, rng):
    """Monte Carlo: 400 frames and darks of the same means; chi^2 of z-scores over 30 bins."""
    plan = AzimuthalPlan.build(geometry, correction, PlanOptions(bins=30, radial_range=(3, 20)))
    profiles = [
        plan.integrate(rng.poisson(20, SHAPE).astype("u2"), rng.poisson(6, SHAPE).astype("u2"))
        for _ in range(200)
    ]
    scatter = np.std([p.intensity for p in profiles], axis=0, ddof=1)
    claimed = np.mean([p.sigma for p in profiles], axis=0)
    assert np.mean(scatter / claimed) == pytest.approx(1, abs=0.04)


def test_with_the_floor_per_bin_sigma_is_right_at_low_counts_where_pyfais_is_too_large(geometry, rng):
    options = PlanOptions(bins=30, radial_range=(3, 20), variance_floor="bin")
    plan = AzimuthalPlan.build(geometry, options=options)
    as_pyfai = AzimuthalPlan.build(geometry, options=replace(options, variance_floor="pixel"))
    frames = [rng.poisson(0.05, SHAPE).astype("u2") for _ in range(200)]
    scatter = np.std([plan.integrate(f).intensity for f in frames], axis=0, ddof=1)
    claimed = np.mean([plan.integrate(f).sigma for f in frames], axis=0)
    assert np.mean(scatter / claimed) == pytest.approx(1, abs=0.05)
    assert np.mean(as_pyfai.integrate(frames[0]).sigma / claimed) > 4


def test_an_empty_frame_has_the_uncertainty_of_one_count_per_bin(geometry):
    plan = AzimuthalPlan.build(geometry, options=PlanOptions(bins=50, variance_floor="bin"))
    profile = plan.integrate(np.zeros(SHAPE, np.uint16))
    used = profile.counts > 0
    assert np.array_equal(profile.signal_variance[used], np.ones(used.sum()))
    np.testing.assert_allclose(profile.sigma[used], 1 / profile.normalisation[used])


@pytest.mark.parametrize("splitting", ["no", "bbox"])
def test_dead_time_is_undone_and_propagated(geometry, rng, splitting):
    """c = v / (1 - v tau): compare with the same formula applied by numpy to the image."""
    correction = Correction(dead_time_s=1e-4, exposure_s=1.0)
    options = PlanOptions(bins=50, splitting=splitting)
    observed = rng.integers(0, 3000, SHAPE).astype(np.uint16)
    profile = AzimuthalPlan.build(geometry, correction, options).integrate(observed)
    plain = AzimuthalPlan.build(geometry, Correction(), options)
    live = 1 - observed * 1e-4
    true = plain.integrate(observed / live)
    np.testing.assert_allclose(profile.intensity, true.intensity, rtol=1e-12)
    if splitting == "no":
        variance = plain.integrate(np.maximum(observed, 1) / live**4).signal
        np.testing.assert_allclose(profile.signal_variance, variance, rtol=1e-12)


def test_counts_beyond_what_the_dead_time_allows_are_masked(geometry):
    plan = AzimuthalPlan.build(geometry, Correction(dead_time_s=1e-3, exposure_s=1.0), PlanOptions(bins=50))
    frame = np.full(SHAPE, 10, np.uint16)
    frame[:10] = 1000
    assert plan.integrate(frame).n_masked == 10 * SHAPE[1]


def test_sums_are_exact_when_a_bin_holds_more_pixels_than_a_packed_accumulator(geometry, rng):
    """Few bins, values that fill 32 bits, many zeros: the packed accumulator has to be emptied in between."""
    plan = AzimuthalPlan.build(geometry, options=PlanOptions(bins=2, radial_range=(0.0, 200.0)))
    assert SHAPE[0] * SHAPE[1] > MAX_PIXELS_PER_BLOCK
    frame = rng.integers(2**32 - 1000, 2**32 - 1, SHAPE, dtype=np.uint32)
    frame[rng.random(SHAPE) < 0.5] = 0
    profile = plan.integrate(frame)
    assert profile.signal.sum() == float(frame.sum(dtype=np.uint64))
    assert profile.signal_variance.sum() - profile.signal.sum() == (frame == 0).sum()


def test_threads_and_order_do_not_change_a_single_bit(geometry, correction, rng):
    plan = AzimuthalPlan.build(geometry, correction, PlanOptions(bins=70, azimuth_bins=12, splitting="bbox"))
    frames = [rng.poisson(3, SHAPE).astype(np.float32) for _ in range(12)]
    darks = [rng.poisson(1, SHAPE).astype(np.uint16) for _ in range(3)]
    for dark in darks:
        dark.flags.writeable = False
    jobs = [(i, frames[i], darks[i % 3]) for i in range(12)]
    alone = {i: plan.cake(f, d).intensity.tobytes() for i, f, d in jobs}
    with ThreadPoolExecutor(4) as pool:
        together = dict(pool.map(lambda j: (j[0], plan.cake(j[1], j[2]).intensity.tobytes()), jobs[::-1]))
    assert together == alone


@pytest.mark.parametrize(("flip", "axes"), [("rows", (0,)), ("columns", (1,)), ("both", (0, 1))])
@pytest.mark.parametrize("splitting", ["no", "bbox"])
@pytest.mark.parametrize("solid_angle", [True, False])
def test_a_flip_is_the_frame_and_its_images_turned(
    geometry, correction, frame, flip, axes, splitting, solid_angle
):
    correction = replace(correction, solid_angle=solid_angle)
    options = PlanOptions(bins=60, splitting=splitting, azimuth_bins=10)
    as_calibrated = AzimuthalPlan.build(geometry, correction, options).cake(frame)
    images = {n: np.flip(getattr(correction, n), axes) for n in ("mask", "dark", "flat")}
    plan = AzimuthalPlan.build(geometry, replace(correction, **images), replace(options, flip=flip))
    turned = plan.cake(np.flip(frame, axes))
    np.testing.assert_allclose(turned.intensity, as_calibrated.intensity, rtol=1e-9)
    np.testing.assert_allclose(turned.profile.sigma, as_calibrated.profile.sigma, rtol=1e-9)


@pytest.mark.parametrize("solid_angle", [True, False])
def test_the_orientation_a_poni_file_gives_is_obeyed_where_the_file_does_not_give_the_shape(
    poni, geometry, frame, solid_angle
):
    correction = Correction(solid_angle=solid_angle)
    text = (
        poni.read_text()
        .replace('"max_shape": [180, 211], ', "")
        .replace('"orientation": 3', '"orientation": 2')
    )
    poni.write_text(text)
    profile = AzimuthalPlan.build(load_geometry(poni), correction, PlanOptions(60), shape=SHAPE).integrate(
        frame
    )
    flipped = AzimuthalPlan.build(geometry, correction, PlanOptions(60)).integrate(frame[::-1])
    np.testing.assert_allclose(profile.intensity, flipped.intensity, rtol=1e-6)


def test_a_uniform_sensitivity_corrected_frame_is_flat(geometry):
    """Closed form: counts that follow flat * solid angle * polarisation integrate to one constant."""
    integrator = geometry.integrator()
    flat = np.linspace(0.5, 1.5, SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    image = 37.0 * flat * integrator.solidAngleArray(SHAPE) * integrator.polarization(SHAPE, 0.9) + 5
    correction = Correction(flat=flat, dark=np.full(SHAPE, 5.0), polarization_factor=0.9)
    for splitting in ("no", "bbox"):
        profile = AzimuthalPlan.build(
            geometry, correction, PlanOptions(splitting=splitting, bins=120)
        ).integrate(image)
        np.testing.assert_allclose(profile.intensity[profile.counts > 1e-6], 37.0, rtol=1e-7)


@pytest.mark.parametrize(
    "shape", [(180, 210), (211, 180), (2, 180, 200), (180,), (0, 180, 211), (1, 1, 180, 211)]
)
def test_a_frame_of_another_shape_fails_with_both_shapes_named(geometry, shape):
    plan = AzimuthalPlan.build(geometry, options=PlanOptions(bins=50))
    with pytest.raises(FrameFailed) as failure:
        plan.integrate(np.zeros(shape, np.uint16))
    assert str(shape) in str(failure.value) and "(180, 211)" in str(failure.value)


@pytest.mark.parametrize("array", [np.zeros(SHAPE, complex), np.zeros(SHAPE, "U1"), np.zeros(SHAPE, "M8[s]")])
def test_a_frame_without_numbers_fails(geometry, array):
    plan = AzimuthalPlan.build(geometry, options=PlanOptions(bins=50))
    with pytest.raises(FrameFailed, match="expected integers or real numbers"):
        plan.integrate(array)


def test_a_dark_of_another_shape_fails(geometry, frame):
    plan = AzimuthalPlan.build(geometry, options=PlanOptions(bins=50))
    with pytest.raises(FrameFailed, match=r"dark frame has shape \(10, 10\)"):
        plan.integrate(frame, np.zeros((10, 10)))


def test_no_geometry_is_one_clear_sentence():
    with pytest.raises(ConfigurationError, match=r"no detector geometry: set reduction\.poni"):
        AzimuthalPlan.build(None)


def test_a_mask_of_another_shape_is_refused_and_never_cropped(geometry):
    with pytest.raises(ConfigurationError, match=r"180 x 211.*100 x 100.*nothing is cropped"):
        AzimuthalPlan.build(geometry, Correction(mask=np.zeros((100, 100), bool)))


def test_a_range_without_pixels_is_refused(geometry):
    with pytest.raises(ConfigurationError, match="no unmasked pixel"):
        AzimuthalPlan.build(geometry, options=PlanOptions(radial_range=(170.0, 179.0)))


def test_a_hot_pixel_outside_the_detector_is_refused(geometry):
    with pytest.raises(ConfigurationError, match="outside the detector"):
        AzimuthalPlan.build(geometry, Correction(hot_pixels=np.array([[0, 211]])))


def test_hot_pixels_and_unusable_flats_are_masked(geometry, frame):
    flat = np.ones(SHAPE)
    flat[5, 6], flat[7, 8], flat[9, 10] = 0, np.nan, -1
    correction = Correction(flat=flat, hot_pixels=np.array([[11, 12], [0, 0]]), solid_angle=False)
    mask = np.zeros(SHAPE, bool)
    mask[[5, 7, 9, 11, 0], [6, 8, 10, 12, 0]] = True
    options = PlanOptions(bins=50, radial_range=(1, 25))
    got = AzimuthalPlan.build(geometry, correction, options).integrate(frame)
    expected = AzimuthalPlan.build(geometry, Correction(mask=mask, solid_angle=False), options).integrate(
        frame
    )
    assert np.array_equal(got.signal, expected.signal) and np.array_equal(got.counts, expected.counts)


def test_the_fingerprint_is_stable_and_changes_with_everything_that_changes_numbers(geometry, correction):
    def mark(geometry=geometry, correction=correction, **options):
        return AzimuthalPlan.build(geometry, correction, PlanOptions(bins=20, **options)).fingerprint

    moved = replace(geometry, config={**geometry.config, "dist": 0.2500001})
    other_dark = correction.dark.copy()
    other_dark[3, 4] += 1e-6
    variants = [
        mark(),
        mark(geometry=moved),
        mark(unit="q_A^-1"),
        mark(splitting="bbox"),
        mark(radial_range=(1.0, 20.0)),
        mark(azimuth_bins=8),
        mark(stack="sum"),
        mark(variance_floor="bin"),
        mark(flip="rows"),
        mark(correction=replace(correction, dark=other_dark)),
        mark(correction=replace(correction, flat=None)),
        mark(correction=replace(correction, mask=~correction.mask)),
        mark(correction=replace(correction, saturation=100.0)),
        mark(correction=replace(correction, hot_pixels=np.array([[1, 2]]))),
        mark(correction=replace(correction, polarization_factor=None)),
        mark(correction=replace(correction, solid_angle=False)),
        mark(correction=replace(correction, mask_negative=False)),
        mark(correction=replace(correction, dead_time_s=1e-6, exposure_s=1.0)),
    ]
    assert len(set(variants)) == len(variants)
    assert mark() == variants[0] and len(variants[0]) == 64


def test_a_geometry_moved_in_its_values_moves_the_pattern(geometry, frame):
    """What the fingerprint hashes is what the integrator uses: change the values, and the axis changes."""
    moved = replace(geometry, config={**geometry.config, "dist": 0.30})
    near, far = (AzimuthalPlan.build(g, options=PlanOptions(bins=50)).axis[-1] for g in (geometry, moved))
    assert far < near


def test_what_a_profile_shares_with_its_plan_cannot_be_changed(geometry, frame):
    profile = AzimuthalPlan.build(geometry, options=PlanOptions(bins=50)).integrate(frame)
    for shared in (profile.axis, profile.normalisation, profile.counts):
        with pytest.raises(ValueError, match="read-only"):
            shared[0] = 1.0


def test_warm_up_leaves_nothing_to_compile(geometry):
    from streamproc.reduction import kernels

    plan = AzimuthalPlan.build(geometry, options=PlanOptions(bins=20, azimuth_bins=10))
    plan.warm_up(["u2"])
    compiled = len(kernels.count_pixels.signatures)
    plan.integrate(np.frombuffer(b"\0" * (2 * SHAPE[0] * SHAPE[1] + 1), np.uint16, offset=1).reshape(SHAPE))
    plan.cake(np.zeros(SHAPE, np.uint16))
    assert len(kernels.count_pixels.signatures) == compiled
