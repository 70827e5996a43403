from __future__ import annotations

import base64
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from streamproc.models.report.evidence import Evidence
from streamproc.models.report.parts import Facts, Words
from streamproc.models.report.sections import Bullets, sections
from streamproc.models.report.write import report_again, write_report

from streamproc.cli import main
from streamproc.errors import ConfigurationError

pytest.importorskip("matplotlib")

_VOID = {"meta", "img", "br", "hr"}


class Page(HTMLParser):
    """Checks the nesting of tags and collects images, text and what the page would fetch."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.words, self.tags, self.anchors = [], [], [], set(), []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        given = dict(attrs)
        if tag == "img":
            self.images.append(given)
        self.anchors += [given[k] for k in ("href",) if k in given]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def made(evidence, folder):
    page, paper = write_report(evidence, folder)
    return Page(page.read_text(encoding="utf-8")), paper.read_bytes()


def pages(pdf):
    assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
    return len(re.findall(rb"/Type /Page\b(?!s)", pdf))


def words_of(evidence):
    found = []
    for section in sections(evidence):
        for block in section.blocks:
            found += [block] if isinstance(block, str) else block.lines if isinstance(block, Bullets) else []
    return " ".join(found)


@pytest.fixture(scope="module")
def whole(make_evidence, tmp_path_factory):
    evidence = make_evidence(4, 600)
    return evidence, *made(evidence, tmp_path_factory.mktemp("whole"))


def test_the_page_is_well_formed_and_fetches_nothing(whole):
    _, page, _ = whole
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert all(a.startswith("#") for a in page.anchors)
    assert len(page.images) >= 12
    for image in page.images:
        kind, data = image["src"].split(",", 1)
        assert kind == "data:image/png;base64"
        raw = base64.b64decode(data, validate=True)
        assert raw.startswith(b"\x89PNG") and int.from_bytes(raw[16:20], "big") == int(image["width"])
        assert len(image["alt"]) > 40


def test_every_part_is_on_the_page_and_the_main_figures_are_those_of_the_evidence(whole):
    evidence, page, _ = whole
    for title in (s.title for s in sections(evidence)):
        assert title in page.text
    q = evidence.simulated
    assert f"{np.abs(q.value - q.truth).mean():.3f} wt%" in page.text
    measured = evidence.measured
    counted = measured.counted.astype(bool)
    assert f"{np.abs(measured.value - measured.truth)[counted].mean():.3f} wt%" in page.text
    assert evidence.facts.command in page.text
    assert "measured: round robin" in page.text


def test_the_pdf_has_pages_and_its_text_is_text(whole):
    _, _, pdf = whole
    assert pages(pdf) >= 5
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    shown = 0
    for stream in streams:
        try:
            shown += zlib.decompress(stream).count(b"Tj") + zlib.decompress(stream).count(b"TJ")
        except zlib.error:
            continue
    assert shown > 300


def test_a_report_of_nothing_says_so_everywhere(tmp_path):
    page, pdf = made(Evidence(Facts("m", "1")), tmp_path)
    for sentence in (
        "this report gives no reason to trust the model",
        "how it does on real data is unknown",
        "No learning curve was recorded",
        "No held-out simulated patterns were given",
        "No presence probabilities were given",
        "was not tried",
        "No worst cases were kept",
    ):
        assert sentence in page.text
    assert pages(pdf) == 1 or pages(pdf) == 2


def test_without_measured_patterns_the_summary_warns(make_evidence):
    evidence = replace(make_evidence(4, 60), measured=None, measured_presence=None)
    assert "No measured patterns were scored: how it does on real data is unknown." in words_of(evidence)


def test_measured_patterns_that_all_stopped_the_training_are_no_proof(make_evidence):
    evidence = make_evidence(4, 60)
    measured = replace(evidence.measured, counted=np.zeros(8, bool))
    words = words_of(replace(evidence, measured=measured))
    assert "None of the measured patterns counts" in words and "On measured patterns" not in words


def test_answers_that_are_nan_are_counted_and_the_report_is_made(make_evidence, tmp_path):
    evidence = make_evidence(3, 90)
    value, probability = evidence.simulated.value.copy(), evidence.presence.probability.copy()
    value[:7], probability[:5] = np.nan, np.nan
    evidence = Evidence(
        evidence.facts,
        simulated=replace(evidence.simulated, value=value),
        presence=replace(evidence.presence, probability=probability),
    )
    page, _ = made(evidence, tmp_path)
    assert "21 of 270 answers for simulated patterns were not numbers" in page.text
    assert "5 of 90 patterns got presence probabilities that are not numbers" in page.text


@pytest.mark.parametrize("broken", ["value", "sigma", "low90", "truth"])
def test_a_column_that_is_all_nan_does_not_stop_the_report(make_evidence, tmp_path, broken):
    evidence = make_evidence(2, 60)
    column = getattr(evidence.simulated, broken).copy()
    column[:] = np.nan
    evidence = Evidence(evidence.facts, simulated=replace(evidence.simulated, **{broken: column}))
    page, pdf = made(evidence, tmp_path)
    assert pages(pdf) > 0 and "Held-out simulated patterns" in page.text


def test_one_item_and_two_patterns_are_enough_for_a_report(make_evidence, tmp_path):
    page, pdf = made(make_evidence(1, 2), tmp_path)
    assert pages(pdf) > 0
    assert "Presence could not be judged for corundum Al2O3" in page.text


def test_patterns_without_anything_foreign_or_signals_never_computed_do_not_stop_the_report(
    make_evidence, tmp_path
):
    signals = make_evidence(2, 40).signals
    nothing = replace(signals, foreign=signals.foreign[:0], foreign_share=signals.foreign_share[:0])
    never = replace(signals, usual=np.full_like(signals.usual, np.nan), limits=np.full(4, np.nan))
    for k, found in enumerate((nothing, never)):
        _, pdf = made(Evidence(Facts("m", "1"), signals=found), tmp_path / str(k))
        assert pages(pdf) > 0


def test_names_with_markup_and_mathematics_are_shown_as_they_are(make_evidence, tmp_path):
    names = ("<b>a&b</b>", "$x_{")
    evidence = Evidence(
        Facts("$m", "1"), Words("<i>", "<i>s"), simulated=replace(make_evidence(2, 40).simulated, names=names)
    )
    page, _ = made(evidence, tmp_path)
    assert "<b>a&b</b>" in page.text and "$x_{" in page.text
    assert not page.tags & {"b", "i"}


def test_the_report_uses_the_words_it_is_given_and_none_of_its_own(make_evidence):
    evidence = make_evidence(2, 40)
    evidence = replace(
        evidence,
        facts=Facts("m", "1"),
        words=Words("defect", "defects", "image", "images", "a foreign texture"),
        notes=(), worst=(), tables=(), curve=None,
    )  # fmt: skip
    words = words_of(evidence) + " ".join(
        f"{b.caption} {b.alt}" for s in sections(evidence) for b in s.blocks if hasattr(b, "caption")
    )
    assert "defect" in words and "images" in words
    assert not re.search(r"\b(phase|phases|crystal\w*|diffraction|pattern|patterns)\b", words)


def test_a_report_made_again_from_the_evidence_in_the_version_folder_is_the_same_byte_by_byte(
    make_evidence, tmp_path, capsys
):
    evidence = replace(
        make_evidence(2, 500), presence=None, measured_presence=None, signals=None, worst=()
    )  # fmt: skip
    first = write_report(evidence, tmp_path / "first")
    evidence.save(tmp_path / "1" / "evidence.npz")
    with pytest.raises(SystemExit) as ended:
        main(["models", "report", str(tmp_path / "1")])
    assert ended.value.code == 0
    again = [tmp_path / "1" / n for n in ("report.html", "report.pdf")]
    assert capsys.readouterr().out.split() == [str(p) for p in again]
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in first]


def test_a_report_can_be_made_from_an_evidence_file_into_another_folder(tmp_path):
    Evidence(Facts("m", "1")).save(tmp_path / "some.npz")
    assert report_again(tmp_path / "some.npz", tmp_path / "other")[0] == tmp_path / "other" / "report.html"
    assert (tmp_path / "other" / "report.pdf").is_file()


def test_a_folder_without_evidence_is_one_sentence_and_exit_code_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["models", "report", str(tmp_path)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("streamproc: ") and "evidence.npz: no such file" in said and said.count("\n") == 1


def test_without_matplotlib_the_error_names_the_extra(make_evidence, tmp_path):
    make_evidence(2, 20).save(tmp_path / "evidence.npz")
    code = (
        "import sys; from importlib.abc import MetaPathFinder\n"
        "class Gone(MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.split('.')[0] == 'matplotlib': raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        "from streamproc.cli import main; main(sys.argv[1:])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "models", "report", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.strip() == "streamproc: a report needs matplotlib: pip install 'streamproc[train]'"


def test_saving_and_loading_evidence_needs_no_matplotlib():
    code = (
        "import sys, streamproc.models.report.evidence, streamproc.models.report.write as w;"
        "assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_error_of_the_evidence_is_the_projects_own(tmp_path):
    with pytest.raises(ConfigurationError, match="no such file"):
        Evidence.load(tmp_path / "none.npz")


def test_reports_of_many_items_stay_within_their_pages(make_evidence, tmp_path):
    """No figure may be higher than a page's text area, or its end would be cut off."""
    from streamproc.models.report.style import Drawing

    for p in (1, 2, 3, 5, 12, 13, 20, 56, 120):
        for section in sections(replace(make_evidence(p, 30), worst=())):
            for block in section.blocks:
                if isinstance(block, Drawing):
                    assert 0.5 < block.height_in < 9.4
