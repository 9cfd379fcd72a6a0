"""Representation distances against the specification, peer libraries and known properties."""

import dataclasses
import re
import tracemalloc

import ckatorch.core
import numpy as np
import procrustes
import pytest
import torch
from scipy.linalg import orthogonal_procrustes, subspace_angles
from scipy.spatial import procrustes as scipy_procrustes
from scipy.stats import ortho_group
from sklearn.decomposition import PCA
from statsmodels.multivariate.cancorr import CanCorr

from benchmarks.published_procedure import all_pairs
from lib import measures
from lib.measures.representation import NAMES, factors, pairs

pytestmark = pytest.mark.filterwarnings("ignore::lib.measures.SaturationWarning")


def distance(x, y, name, **options):
    """Distance of two (N, D) matrices."""
    return measures.representation_distances([x[None], y[None]], [name], **options)[name][0, 0, 1]


def deep_runs(n_runs, n_layers, n, d, seed=0, offset=0.0):
    """(S, L, N, D) float32: a signal that the runs share, noise of their own, decaying spectra."""
    rng = np.random.default_rng(seed)
    layers = []
    for layer in range(n_layers):
        scale = np.arange(1, d + 1) ** -(0.8 + 0.3 * layer)
        turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
        shared = rng.normal(size=(n, d))
        noise = 0.6 * rng.normal(size=(n_runs, n, d))
        layers.append(((shared + noise) * scale) @ turn + offset)
    return np.stack(layers, 1).astype(np.float32)


def two_runs(n, d_x, d_y):
    """Two matrices (N, D) of related features, in float64."""
    x, y = deep_runs(2, 1, n, max(d_x, d_y))[:, 0].astype(float)
    return x[:, :d_x], y[:, :d_y]


@pytest.fixture(params=[(60, 20, 20), (40, 64, 64), (50, 30, 70), (50, 80, 12)], ids=str)
def pair(request):
    return two_runs(*request.param)


def unit(x):
    centred = x - x.mean(0)
    return centred / np.linalg.norm(centred)


def test_op_equals_scipy(pair):
    """The square of a 12 × 50 product must be the 12 × 12 one: its other eigenvalues are rounding,
    whose roots are not.
    """
    x, y = pair
    width = max(x.shape[1], y.shape[1])
    padded = [np.pad(unit(m), ((0, 0), (0, width - m.shape[1]))) for m in pair]
    expected = 1 - orthogonal_procrustes(*padded)[1]
    assert distance(x, y, "op") == pytest.approx(expected, abs=1e-13)
    assert distance(y, x, "op") == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(("name", "unbiased"), [("cka", True), ("cka_biased", False)])
def test_cka_equals_ckatorch(pair, name, unbiased):
    x, y = (torch.from_numpy(m) for m in pair)
    oracle = ckatorch.core.cka_base(x, y, kernel="linear", unbiased=unbiased, method="fro_norm")
    assert distance(*pair, name) == pytest.approx(1 - oracle.item(), abs=1e-12)


def test_svcca_equals_sklearn_and_statsmodels():
    x, y = two_runs(80, 30, 30)
    kept = [PCA(n_components=0.99, svd_solver="full").fit_transform(m) for m in (x, y)]
    correlations = CanCorr(*kept).cancorr
    assert distance(x, y, "svcca") == pytest.approx(1 - correlations.mean(), abs=1e-10)
    angles = subspace_angles(*kept)
    assert distance(x, y, "svcca") == pytest.approx(1 - np.cos(angles).mean(), abs=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_runs_of_any_widths_are_compared_as_if_alone(name):
    """Symmetric, whatever the order and the other runs are; a copy of a run is 0 apart."""
    runs = [deep_runs(1, 2, 50, d, seed=d)[0] for d in (12, 80, 30, 30)]
    together = measures.representation_distances(runs, [name])[name]
    assert together.shape == (2, 4, 4) and (together == together.swapaxes(1, 2)).all()
    for i, j in np.ndindex(4, 4):
        alone = measures.representation_distances([runs[i], runs[j]], [name])[name]
        np.testing.assert_allclose(together[:, i, j], alone[:, 0, 1], atol=1e-12)


@pytest.mark.parametrize("name", ["svcca", "op", "cka", "cka_biased"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rotation_scale_and_translation_change_nothing(name, dtype):
    x, y = two_runs(40, 16, 16)
    before = distance(x, y, name)
    rotation = ortho_group.rvs(16, random_state=1)
    for scale in (1e-250, 1e-8, 1e8, 1e250):
        assert distance(x, scale * (y @ rotation), name) == pytest.approx(before, abs=1e-10)
    below = np.minimum(y, 0)
    assert distance(x, below, name) == pytest.approx(distance(x, -below, name), abs=1e-10)
    moved = (y + 1e3 * y.std()).astype(dtype)
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    assert distance(x.astype(dtype), moved, name) == pytest.approx(before, abs=tolerance)


@pytest.mark.parametrize("fault", ["constant", "nan", "inf"])
def test_degenerate_run_is_nan_with_a_warning_and_harms_no_other(fault):
    runs = deep_runs(4, 2, 20, 6)
    sound = measures.representation_distances(runs[[0, 1, 3]], NAMES)
    runs[2, 1] = {"constant": 3.3, "nan": np.nan, "inf": np.inf}[fault]
    with pytest.warns(UserWarning, match="run 2, layer 1"):
        found = measures.representation_distances(runs, NAMES)
    for name in NAMES:
        assert np.isnan(found[name][1, 2, [0, 1, 3]]).all()
        assert np.isfinite(found[name][0]).all()
        others = found[name][1][np.ix_([0, 1, 3], [0, 1, 3])]
        np.testing.assert_allclose(others, sound[name][1], atol=1e-14)


def test_one_differing_example_has_no_debiased_cka_and_says_so():
    x = np.zeros((2, 1, 9, 3))
    x[0, 0, 4] = 1.0
    x[1] = np.random.default_rng(0).normal(size=(1, 9, 3))
    with pytest.warns(UserWarning, match="run 0, layer 0: a single example differs"):
        found = measures.representation_distances(x, ["cka", "op"])
    assert np.isnan(found["cka"][0, 0, 1]) and np.isfinite(found["op"][0, 0, 1])


def test_a_direction_that_centring_annihilates_correlates_with_nothing():
    """Kept are a constant and one pattern (k = 2); of those, centring leaves the pattern alone."""
    rng = np.random.default_rng(13)
    patterns = rng.normal(size=(40, 2))
    patterns, _ = np.linalg.qr(patterns - patterns.mean(0))
    x = np.column_stack([np.full(40, 10 / np.sqrt(40)), 8 * patterns[:, 0], 0.2 * patterns[:, 1]])
    y = x @ ortho_group.rvs(3, random_state=2)
    assert distance(x, y, "svcca_published") == pytest.approx(0.5, abs=1e-9)
    assert distance(x, y, "svcca") == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("representations", "options", "message"),
    [
        (np.zeros((3, 5, 7)), {}, r"expected \(S, L, N, D\)"),
        (np.zeros((1, 2, 5, 7)), {}, "S ≥ 2"),
        ([np.zeros((2, 5, 7)), np.zeros((2, 6, 7))], {}, "same layers and examples"),
        (np.zeros((2, 1, 3, 7)), {"measures": ["cka"]}, "N ≥ 4"),
        (np.zeros((2, 1, 9, 0)), {}, "D ≥ 1"),
        (np.zeros((2, 1, 9, 7)), {"measures": ["ckaa"]}, "'ckaa' is unknown; valid: svcca"),
        (np.zeros((2, 1, 9, 2)), {"measures": "op"}, "expected a list of names"),
        (np.zeros((2, 1, 9, 2)), {"workers": 0}, "workers = 0"),
        (np.zeros((2, 1, 9, 2)), {"precision": "half"}, "'half'; expected 'float64' or 'float32'"),
        (np.zeros((2, 1, 9, 2)), {"device": "cuda:99"}, r"99', but torch sees \d+ CUDA devices"),
    ],
)
def test_errors(representations, options, message):
    for call in (measures.representation_distances, measures.distances_and_chance):
        with pytest.raises(ValueError, match=message):
            call(representations, **options)


SHAPES = pytest.mark.parametrize(("n", "d"), [(40, 90), (60, 60), (90, 40), (61, 60)])


@SHAPES
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_equals_the_published_procedure_in_double_precision(n, d, offset):
    runs = deep_runs(3, 3, n, d, offset=offset)
    places = [(0, 1), (0, 2), (1, 2)]
    expected = all_pairs(torch.from_numpy(runs), places, torch.float64)
    found = measures.representation_distances(runs, list(expected))
    assert set(found) == {"svcca_published", "op", "cka"}
    for name in found:
        for k, (i, j) in enumerate(places):
            np.testing.assert_allclose(found[name][:, i, j], expected[name][k], atol=1e-10)


@SHAPES
def test_single_precision_is_within_1e_5(n, d):
    runs = deep_runs(4, 3, n, d, offset=1.0)
    double = measures.representation_distances(runs, NAMES)
    single = measures.representation_distances(runs, NAMES, precision="float32")
    for name in NAMES:
        np.testing.assert_allclose(single[name], double[name], atol=1e-5)
    assert (single["op"] != double["op"]).any()


@pytest.mark.parametrize(("n", "d"), [(40, 90), (90, 40), (60, 30)])
@pytest.mark.parametrize("way", ["torch", "torch, batched", "products"])
def test_every_way_to_compute_gives_the_same(n, d, way, monkeypatch):
    """All pairs of a run in one batched call is the way of a GPU; products, that of large N."""
    runs = deep_runs(4, 2, n, d)
    expected = measures.distances_and_chance(runs, NAMES, n_permutations=3)
    if way == "products":
        monkeypatch.setattr(pairs, "GRAM_BYTES", 0)
    else:
        torch_on_cpu = factors.backend_for("cpu")
        backend = dataclasses.replace(torch_on_cpu, batched="batched" in way)
        monkeypatch.setattr("lib.measures.representation.backend_for", lambda device: backend)
    again = measures.distances_and_chance(runs, NAMES, n_permutations=3)
    for found, reference in zip(again, expected, strict=True):
        for name in NAMES:
            np.testing.assert_allclose(found[name], reference[name], atol=1e-11)


@pytest.mark.parametrize(("n", "d"), [(40, 90), (90, 40)])
def test_chance_is_the_distance_after_shuffling_the_examples(n, d):
    runs = deep_runs(3, 2, n, d)
    _, chance = measures.distances_and_chance(runs, NAMES, n_permutations=5, seed=7)
    rng = np.random.default_rng(7)
    for k in range(5):
        i, j = rng.choice(3, 2, replace=False)
        shuffle = rng.permutation(n)
        pair = [runs[i], runs[j][:, shuffle]]
        for name in NAMES:
            expected = measures.representation_distances(pair, [name])[name][:, 0, 1]
            np.testing.assert_allclose(chance[name][:, k], expected, atol=1e-11)


@pytest.mark.filterwarnings("default::lib.measures.SaturationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_saturation_is_warned_of_where_it_happens(name, recwarn):
    white = np.random.default_rng(0).normal(size=(3, 2, 30, 40))
    measures.representation_distances(white, [name])
    messages = [str(w.message) for w in recwarn if w.category is measures.SaturationWarning]
    if name == "cka":
        assert messages == []
        return
    _, chance = measures.distances_and_chance(white, [name], n_permutations=30)
    said = float(re.search(r"would be ([\d.]+) apart", messages[0]).group(1))
    assert len(messages) == 1 and "with 30 examples" in messages[0]
    assert said == pytest.approx(chance[name].mean(), abs=0.06)
    assert recwarn[0].filename == __file__
    recwarn.clear()
    measures.representation_distances(deep_runs(3, 1, 3000, 4), [name])
    assert list(recwarn) == []


def test_kept_directions_are_those_of_pca():
    runs = deep_runs(2, 2, 80, 30)
    kept, margin = measures.kept_directions(runs)
    for layer in range(2):
        for run in range(2):
            pca = PCA(n_components=0.99, svd_solver="full").fit(runs[run, layer].astype(float))
            assert kept[layer, run] == pca.n_components_
            share = pca.explained_variance_ratio_.sum()
            assert margin[layer, run] == pytest.approx(share - 0.99, abs=1e-10)
    assert (measures.kept_directions(1e-8 * runs.astype(float))[0] == kept).all()
    assert (measures.kept_directions(runs, "svcca_published")[0] > kept).all()


def test_forms_of_the_op_distance():
    x, y = two_runs(50, 20, 20)
    op = distance(x, y, "op")
    similarity = orthogonal_procrustes(unit(x), unit(y))[1]
    assert measures.convert_op(op, "similarity") == pytest.approx(similarity)
    assert measures.convert_op(op, "angular") == pytest.approx(np.arccos(similarity))
    assert measures.convert_op(op, "disparity") == pytest.approx(scipy_procrustes(x, y)[2])
    error = procrustes.orthogonal(x, y, translate=True, scale=True).error
    assert measures.convert_op(op, "squared") == pytest.approx(error)
    rotation = orthogonal_procrustes(unit(x), unit(y))[0]
    apart = np.linalg.norm(unit(x) @ rotation - unit(y))
    assert measures.convert_op(op, "root") == pytest.approx(apart)
    with pytest.raises(ValueError, match="'angle' is unknown; valid: similarity, squared"):
        measures.convert_op(op, "angle")


def test_layers_are_streamed_from_disk_and_workers_change_no_bit(tmp_path):
    """Memory is that of one layer, however many there are, and a memory map is read as it is."""
    runs = deep_runs(4, 12, 60, 64)
    np.save(tmp_path / "runs.npy", runs)
    peaks = []
    for layers in (slice(0, 2), slice(0, 12)):
        mapped = [run[layers] for run in np.load(tmp_path / "runs.npy", mmap_mode="r")]
        tracemalloc.start()
        found = measures.representation_distances(mapped, NAMES, workers=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.15 * peaks[0]
    expected = measures.representation_distances(runs, NAMES, workers=3)
    assert all((found[name] == expected[name]).all() for name in NAMES)


def test_each_worker_is_one_blas_thread_and_the_setting_comes_back():
    from threadpoolctl import threadpool_info

    from lib.measures.representation import _pool

    def threads():
        return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]

    before = threads()
    with _pool(3) as pool:
        assert pool._max_workers == 3
        assert set(pool.submit(threads).result()) == {1}
    assert threads() == before
