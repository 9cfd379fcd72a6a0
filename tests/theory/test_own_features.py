"""Certificates of features in files: as a command, as a part of the report, and bad files."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from lib import paths, report
from lib.theory import own_features
from lib.theory.certificate import certify

EXAMPLE = paths.DATA / "examples" / "features.npz"


def features(seed=0, n=40, d=5, classes=2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n + 10, d))
    return x[:n], np.arange(n) % classes, x[n:]


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_every_kind_of_file_gives_the_certificate_of_its_arrays(tmp_path, suffix):
    x, labels, test = features()
    names = np.array(["no", "yes"])[labels]
    path, other = tmp_path / f"train{suffix}", tmp_path / "test.npz"
    np.savez(other, features=test)
    if suffix == ".npz":
        np.savez(path, features=x, labels=names)
    else:
        table = pd.DataFrame(x, columns=[f"f{i}" for i in range(5)]).assign(label=names)
        getattr(table, "to_csv" if suffix == ".csv" else "to_parquet")(path, index=False)
    head = own_features.certify_file(path, test=other, strengths=[0.1])
    with_bias, tests = (np.c_[part, np.ones(len(part))] for part in (x, test))
    expected = certify(with_bias, labels, strength=0.1, test_features=tests)
    for found, wanted in zip(head.certificates[0.1], expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
    assert head[:4] == (40, 6, 2, 10)
    plain = own_features.certify_file(path, strengths=[0.1], bias=False)
    assert plain.width == 5 and plain.tests == 0


def test_sentences_and_tables_say_what_the_certificates_hold(tmp_path):
    head = own_features.certify_file(EXAMPLE, strengths=[1.0, 1e-4])
    strong, weak = head.sentences()
    proved = head.certificates[1.0]
    assert proved.removals.max() > 1 and not head.certificates[1e-4].stable.any()
    most = proved.removals.max()
    assert f"none of any {most} those of {(proved.removals == most).sum()}." in strong
    assert f"row {proved.bound.argmax()};" in strong
    assert f"predictions of {proved.stable.sum()} of {head.tests} test" in strong
    assert "of 0 of 200 test examples for certain" in weak
    head.write(tmp_path)
    training = pd.read_csv(tmp_path / "training_1.csv", index_col="row")
    np.testing.assert_allclose(training["bound"], proved.bound)
    tests = pd.read_csv(tmp_path / "test_0.0001.csv", index_col="row")
    assert len(tests) == head.tests and not tests["stable"].any()


def test_the_report_has_a_section_on_the_head(tmp_path, capsys):
    runs = paths.DATA / "examples" / "predictions.csv"
    report.main([str(runs), "--features", str(EXAMPLE), "--out", str(tmp_path)])
    sentences = own_features.certify_file(EXAMPLE).sentences()
    shown, page = capsys.readouterr().out, (tmp_path / "report.html").read_text()
    assert all(sentence in shown and sentence in page for sentence in sentences)
    assert (tmp_path / "test_0.01.csv").exists()
    report.main([str(runs), "--out", str(tmp_path / "plain")])
    assert "training example" not in (tmp_path / "plain" / "report.html").read_text()


def _refused(path, **how):
    with pytest.raises(ValueError) as error:
        own_features.certify_file(path, **how)
    return str(error.value)


def test_bad_files_are_named_with_a_remedy_that_works(tmp_path):
    x, labels, _ = features()
    table = pd.DataFrame(x, columns=[f"f{i}" for i in range(5)])
    table.assign(y=labels, text="some words").to_csv(path := tmp_path / "t.csv", index=False)
    assert "column 'text' holds no numbers; take it out" in _refused(path)
    table.assign(y=labels).to_csv(path, index=False)
    assert "in column 'label': use --label" in _refused(path)
    assert own_features.certify_file(path, label="y").classes == 2
    assert "no such file" in _refused(tmp_path / "absent.npz")
    np.savez(archive := tmp_path / "a.npz", x=x)
    assert "holds x, but no features" in _refused(archive)
    (tmp_path / "t.xlsx").touch()
    assert "expected .npz, .csv or .parquet" in _refused(tmp_path / "t.xlsx")
    np.savez(archive, features=x, labels=labels[:-1])
    assert "40 rows and labels 39" in _refused(archive)
    np.savez(archive, features=x, labels=np.array([*labels[:-1], None], object))
    assert "a.npz: Object arrays" in (why := _refused(archive)) and "as numbers and text" in why
    archive.write_text("no archive")
    assert "write it again with np.savez" in _refused(archive)


def test_the_command_ends_with_2_on_bad_input_and_says_why(tmp_path):
    command = [sys.executable, "-m", "lib.theory", str(tmp_path / "absent.npz")]
    done = subprocess.run(
        command, cwd=paths.ROOT, capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 2 and "absent.npz: no such file" in done.stderr
    assert "Traceback" not in done.stderr
