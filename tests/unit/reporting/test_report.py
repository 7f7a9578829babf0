import base64
import json
import os
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cases import read_splits
from nnunet_spine.errors import BadInput, NotWritable
from nnunet_spine.evaluation.compare import compare
from nnunet_spine.evaluation.evaluate import evaluate
from nnunet_spine.evaluation.output import write_evaluation
from nnunet_spine.reporting import plots
from nnunet_spine.reporting.panels import grey_png
from nnunet_spine.reporting.report import ReportModel, write_report
from nnunet_spine.reporting.report_tables import Section

CASES = {"case_a": 40, "case_b": 0, "case_c": None, "case_d": 70}


@pytest.fixture
def judged(cohort):
    for number, (case, hundredths) in enumerate(CASES.items()):
        cohort.add(case, number % 2, hundredths)
        cohort.predict(case, 50, cohort.root / "other")
        cohort.add_image(case)
    folds = read_splits(cohort.splits)
    folders = {"documented <model>": cohort.predictions, "nnU-Net": cohort.root / "other"}
    return [ReportModel(label, evaluate(cohort.reference, folder, folds), folder) for label, folder in folders.items()]


@pytest.fixture
def real_plots() -> None:
    """Draw the plots, which takes the most time of a report."""


@pytest.fixture(autouse=True)
def no_plots(request, monkeypatch) -> None:
    if "real_plots" not in request.fixturenames:
        png = grey_png(np.zeros((2, 2)), 0, 1)
        monkeypatch.setattr(plots, "_plot", lambda name, draw, alt, caption: plots.Plot(name, png, png, alt, caption))


def report(cohort, models, name: str = "report", **options) -> Path:
    folder: Path = cohort.root / name
    settings = {"comparison": None, "notes": (), "departures": {}} | options
    write_report(
        folder, title="Tumors & folds", models=models, images=cohort.images, references=cohort.reference, **settings
    )
    return folder


def index(folder: Path) -> str:
    return (folder / "index.html").read_text(encoding="utf-8")


def case_page(folder: Path, case: str) -> str:
    return (folder / "cases" / f"{case}.html").read_text(encoding="utf-8")


def both(judged):
    return compare({m.label: m.evaluation for m in judged})


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_page_is_whole_and_needs_nothing_outside_the_folder(cohort, judged, page_of):
    folder = report(cohort, judged, comparison=both(judged))
    pages = [folder / "index.html", *sorted((folder / "cases").glob("*.html"))]
    assert len(pages) == 1 + len(CASES)
    for path in pages:
        page_of(path.read_text(encoding="utf-8")).assert_linked(path)


def test_pictures_are_pngs_with_words_for_those_who_do_not_see_them(cohort, judged, page_of, real_plots):
    folder = report(cohort, judged, comparison=both(judged))
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n") for path in (folder / "figures").iterdir())
    shown = [attributes for tag, attributes in page_of(index(folder)).elements if tag == "img"]
    assert len(shown) == 5  # difference, fold strip, size, agreement of both
    assert all(attributes["alt"] for attributes in shown)
    assert (shown[0]["width"], shown[0]["height"]) == ("1008", "540")  # 5.6 x 3 inches at 180 dots
    labels = []
    for case in CASES:
        text = case_page(folder, case)
        pictures = re.findall(r"data:image/png;base64,([\w+/=]+)", text)
        assert all(base64.b64decode(p).startswith(b"\x89PNG\r\n") for p in pictures)
        svgs = [
            attributes for tag, attributes in page_of(text).elements if tag == "svg" and "aria-hidden" not in attributes
        ]
        labels += [attributes["aria-label"] for attributes in svgs]
    assert "Prediction A of case_a outlined on sagittal slice 1; Dice 0.40" in labels
    assert "Prediction A of case_c no prediction: sagittal slice 1; Dice 0.00, missed" in labels
    assert "Annotation of case_b outlined on sagittal slice 1" in labels
    assert "Sagittal slice 1 of case_a: annotation and prediction of prediction A" in labels


def test_every_case_has_a_page_with_its_dice_in_the_title_of_the_montage_misses_too(cohort, judged):
    folder = report(cohort, judged[:1])
    for case, title in (("case_a", "Prediction: Dice 0.40"), ("case_b", "Prediction: Dice 0.00, missed")):
        text = case_page(folder, case)
        assert f"<h3>{title}</h3>" in text
        assert f'<a href="cases/{case}.html">{case}</a>' in index(folder)
    assert "case_c: the prediction is missing." in index(folder)
    assert "the prediction is missing." in case_page(folder, "case_c")


def test_montage_holds_both_contours_in_their_line_styles_on_every_slice_with_a_tumor(cohort, judged):
    # Voxels 100 to 199 (reference) and 160 to 259 (prediction) of slices of 400: both on slice 1 alone.
    cohort.write_mask(cohort.predictions / "case_a.nii.gz", slice(160, 260), slice(500, 510))  # and slice 2
    text = case_page(report(cohort, judged[:1]), "case_a")
    montage = text.partition('<figure class="montage">')[2].partition("</figure>")[0]
    assert re.findall(r">(slice \d)<", montage) == ["slice 1", "slice 2"]
    kinds = re.findall(r'<use class="(annotation|prediction)"', montage)
    assert kinds == ["annotation", "prediction", "prediction"]
    assert "Every slice with prediction or annotation." in montage


def test_figures_of_a_case_come_from_the_evaluation(cohort, judged):
    text = case_page(report(cohort, judged), "case_a")
    assert '<th scope="row">Dice</th><td>0.40</td><td>0.50</td>' in text
    # 100 voxels of 1 x 2 x 5 mm: 1 ml.
    assert '<th scope="row">volume of the reference, ml</th><td>1.00</td><td>1.00</td>' in text


def test_table_of_each_model_comes_first_and_matches_its_evaluation(cohort, judged):
    text = index(report(cohort, judged, comparison=both(judged)))
    assert text.index("A: documented &lt;model&gt;") < text.index("B: nnU-Net") < text.index('id="comparison"')
    # Fold 0 tests case_a (0.40) and case_c (no prediction): mean 0.20, SD 0.20.
    assert '<th scope="row">fold 0</th><td>2</td><td>1/2 (50 %)</td><td>0.20 ± 0.20</td><td>0.40 ± 0.00</td>' in text
    assert "0.18 ± 0.24*" in text
    assert "B against A, Dice: no evidence of a difference between these trained models" in text


def test_texts_are_escaped_and_notes_departures_and_sections_shown(cohort, judged):
    folder = report(
        cohort,
        judged,
        notes=["far from trained: <b>no conclusion</b>"],
        departures={"nnU-Net": ["epochs: 2 instead of 400 (documented)"], "elsewhere": ["gamma"]},
        sections=[Section("By size", [("Dice by <size>", ("size", "n"), [("small", "3")])], ["no claim under 5"])],
    )
    text = index(folder)
    assert "<title>Tumors &amp; folds</title>" in text
    assert "far from trained: &lt;b&gt;no conclusion" in text
    assert "epochs: 2 instead of 400 (documented)" in text
    assert "Not recorded." in text  # of the first model
    assert "<h3>elsewhere</h3>" in text
    assert "Research software, not a medical device." in text
    assert '<a href="#section-by-size">By size</a>' in text
    assert "Dice by &lt;size&gt;" in text
    assert '<th scope="row">small</th><td>3</td>' in text


def test_the_markdown_has_the_same_tables(cohort, judged):
    sections = [Section("By size", [("Dice by size", ("size", "n"), [("small | tiny", "3")])])]
    text = (report(cohort, judged, comparison=both(judged), sections=sections) / "report.md").read_text(
        encoding="utf-8"
    )
    assert "| fold 0 | 2 | 1/2 (50 %) | 0.20 ± 0.20 | 0.40 ± 0.00 |" in text
    assert "| small \\| tiny | 3 |" in text
    assert "| case\\_a | 0 | 1.00 | 0.40 | 0.50 |" in text
    assert "**A: documented \\<model\\>**" in text
    assert len(re.findall(r"\]\((figures/\w+_light\.png)\)", text)) == 5


def test_tables_of_the_evaluation_are_copied_byte_for_byte(cohort, judged):
    source = cohort.root / "evaluation"
    write_evaluation(source, judged[0].evaluation, {"step": "evaluate"})
    (source / "later.csv").write_text("a\n1\n", encoding="utf-8")
    model = ReportModel("m", judged[0].evaluation, cohort.predictions, source)
    folder = report(cohort, [model])
    names = ["evaluation.json", "later.csv", "manifest.json", "per_case.csv", "per_fold.csv", "summary.csv"]
    assert [p.name for p in sorted((folder / "tables" / "A").iterdir())] == names
    assert all((folder / "tables" / "A" / n).read_bytes() == (source / n).read_bytes() for n in names)
    assert 'href="tables/A/per_case.csv"' in index(folder)


def test_equal_inputs_give_equal_bytes(cohort, judged, real_plots):
    first = contents(report(cohort, judged, comparison=both(judged)))
    assert first == contents(report(cohort, judged, "again", comparison=both(judged)))


def test_contents_list_every_file_with_its_hash(cohort, judged):
    folder = report(cohort, judged)
    listed = json.loads((folder / "contents.json").read_text(encoding="utf-8"))["files"]
    found = {name: sha256(content).hexdigest() for name, content in contents(folder).items() if name != "contents.json"}
    assert listed == found
    assert {"viewer/niivue.umd.js", "viewer/niivue.LICENSE.txt", "report.md", "cases/case_a.js"} <= set(listed)


def test_predictions_may_be_given_one_by_one(cohort, judged):
    model = judged[0]
    one_by_one = ReportModel(model.label, model.evaluation, {c: cohort.predictions / f"{c}.nii.gz" for c in CASES})
    assert contents(report(cohort, [one_by_one])) == contents(report(cohort, [model], "folder"))


def test_images_that_cannot_be_used_are_named_and_the_rest_goes_on(cohort, judged):
    (cohort.images / "case_a_0000.nii.gz").unlink()
    (cohort.images / "case_b_0000.nii.gz").write_bytes(b"no volume")
    image = sitk.ReadImage(str(cohort.images / "case_c_0000.nii.gz"))
    image.SetOrigin((9.0, 0.0, 0.0))
    sitk.WriteImage(image, str(cohort.images / "case_c_0000.nii.gz"))
    folder = report(cohort, judged)
    reasons = {
        "case_a": "There is no image case_a_0000.nii.gz.",
        "case_b": "The image case_b_0000.nii.gz is unusable: cannot be read as a volume",
        "case_c": "Neither a reference nor a prediction on the grid of the image has a tumor to show.",
    }
    for case, reason in reasons.items():
        assert f"{case}: {reason}" in index(folder)
        assert reason in case_page(folder, case)
        assert "<svg" not in case_page(folder, case)
        assert not (folder / "cases" / f"{case}.js").exists()
    assert "<svg" in case_page(folder, "case_d")
    assert all(str(cohort.root).encode() not in content for content in contents(folder).values())


def test_a_mask_that_cannot_be_drawn_is_named(cohort, judged):
    image = sitk.ReadImage(str(cohort.reference / "case_a.nii.gz"))
    image.SetOrigin((0.0, 3.0, 0.0))
    sitk.WriteImage(image, str(cohort.reference / "case_a.nii.gz"))
    nan = sitk.Cast(sitk.ReadImage(str(cohort.predictions / "case_d.nii.gz")), sitk.sitkFloat32)
    nan[1, 1, 1] = float("nan")
    sitk.WriteImage(nan, str(cohort.predictions / "case_d.nii.gz"))
    options = {"comparison": None, "notes": (), "departures": {}}
    reasons = write_report(
        cohort.root / "report", title="", models=judged, images=cohort.images, references=cohort.reference, **options
    )
    moved = (
        "The mask case_a.nii.gz is not drawn: it is on another grid than the image, voxels up to 3 mm apart, more than "
        "a tenth of the smallest spacing (1 mm)."
    )
    assert reasons["case_a"] == moved
    assert reasons["case_d"].startswith("The mask case_d.nii.gz is unusable: has 1 voxels that are not finite")
    assert set(reasons) == {"case_a", "case_d"}
    assert f"annotation: {moved}" in case_page(cohort.root / "report", "case_a")
    assert f"case_a: {moved}" in index(cohort.root / "report")
    assert "A: The mask case_d.nii.gz" in case_page(cohort.root / "report", "case_d")


def test_a_slice_is_shown_for_the_annotation_and_one_for_the_prediction_where_they_differ(cohort, judged):
    cohort.write_mask(cohort.predictions / "case_d.nii.gz", slice(190, 200), slice(450, 500))  # most on slice 2
    model = ReportModel("m", judged[0].evaluation, cohort.predictions)
    text = case_page(report(cohort, [model]), "case_d")
    assert "Slice 1 of 2: largest area of the annotation" in text
    assert "Slice 2 of 2: largest area of the prediction" in text
    assert "not on this slice" in text  # the annotation


def test_models_without_a_label_of_their_own_are_refused(cohort, judged):
    for models in ([], [judged[0], judged[0]]):
        with pytest.raises(BadInput, match="different labels"):
            report(cohort, models)
    assert not (cohort.root / "report").exists()


def test_a_case_whose_name_would_leave_the_folder_is_refused(cohort, judged):
    result = judged[0].evaluation.results[0]
    evil = type(result)(**{**vars(result), "case": "../../evil"})
    evaluation = type(judged[0].evaluation)((evil,), (0,))
    with pytest.raises(BadInput, match="name of a page"):
        report(cohort, [ReportModel("m", evaluation, {})])
    assert not (cohort.root / "report").exists()
    assert list(cohort.root.glob(".report*")) == []
    assert list(cohort.root.parent.glob("evil*")) == []


def test_an_earlier_report_is_replaced(cohort, judged):
    report(cohort, judged, notes=["earlier text"])
    folder = report(cohort, judged[:1], notes=["second"])
    assert "earlier text" not in index(folder)
    assert not (folder / "figures" / "volume_agreement_B_light.png").exists()
    assert contents(folder) == contents(report(cohort, judged[:1], "fresh", notes=["second"]))


@pytest.mark.parametrize("place", ["mine.txt", "cases/mine.txt"])
def test_what_is_not_of_a_report_is_never_replaced(cohort, judged, place):
    folder = report(cohort, judged[:1], notes=["earlier text"])
    (folder / place).write_text("mine", encoding="utf-8")
    with pytest.raises(NotWritable, match=re.escape(place)):
        report(cohort, judged[:1], notes=["second"])
    assert "earlier text" in index(folder)
    assert (folder / place).read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "dangling link", "pipe", "folder"])
def test_what_is_no_file_of_the_report_is_never_replaced(cohort, judged, kind):
    folder = report(cohort, judged[:1], notes=["earlier text"])
    (cohort.root / "mine").mkdir()
    (cohort.root / "mine" / "x.txt").write_text("mine")
    place = folder / ("report.md" if kind != "folder" else "empty")
    place.unlink(missing_ok=True)
    target = {"link to a file": "x.txt", "link to a folder": ".", "dangling link": "none"}
    if kind in target:
        place.symlink_to(cohort.root / "mine" / target[kind])
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    with pytest.raises(NotWritable, match=rf"not of a report \({place.name}\)"):
        report(cohort, judged[:1], notes=["second"])
    assert "earlier text" in index(folder)
    assert os.path.lexists(place)
    assert (cohort.root / "mine" / "x.txt").read_text() == "mine"
    assert sorted(path.name for path in cohort.root.glob(".*")) == []


@pytest.mark.parametrize("text", ["{}", "[]", '{"files": ["a.txt"], "models": {}}', '{"files": {"a.txt": "0"}}', "{"])
def test_another_programs_list_of_contents_makes_no_report(cohort, judged, text):
    folder = cohort.root / "report"
    folder.mkdir()
    (folder / "a.txt").write_text("mine")
    (folder / "contents.json").write_text(text)
    with pytest.raises(NotWritable, match=r"there is no contents\.json of a report in it"):
        report(cohort, judged)
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "contents.json"]


def test_a_report_behind_a_link_stays_behind_it(cohort, judged):
    (cohort.root / "disk").mkdir()
    (cohort.root / "report").symlink_to(cohort.root / "disk")
    report(cohort, judged[:1], notes=["earlier text"])
    folder = report(cohort, judged[:1], notes=["second"])
    assert folder.is_symlink()
    assert "second" in index(cohort.root / "disk")


def test_another_folder_and_a_file_in_the_way_are_refused(cohort, judged):
    with pytest.raises(NotWritable, match="not of a report"):
        report(cohort, judged, "labelsTr")
    (cohort.root / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(NotWritable, match="it is a file"):
        report(cohort, judged, "file")


def test_a_report_that_breaks_off_leaves_the_earlier_one(cohort, judged, monkeypatch):
    before = contents(report(cohort, judged[:1]))

    def fail(content):
        raise RuntimeError

    monkeypatch.setattr("nnunet_spine.reporting.report.report_markdown", fail)
    with pytest.raises(RuntimeError):
        report(cohort, judged, notes=["second"])
    assert contents(cohort.root / "report") == before
    assert list(cohort.root.glob(".report*")) == []


def test_measures_stand_under_their_usual_names(cohort, judged):
    folder = report(cohort, judged[:1])
    # 40 of 100 voxels each are common: 40 / 160.
    assert '<th scope="row">IoU</th><td>0.25</td>' in case_page(folder, "case_a")
    assert '<th scope="row">false positive volume, ml</th><td>0.00</td>' in case_page(folder, "case_a")
    header = '<th scope="col">IoU</th><th scope="col">precision</th><th scope="col">recall</th>'
    assert header + '<th scope="col">HD95, mm</th><th scope="col">NSD at 1 mm</th>' in index(folder)
