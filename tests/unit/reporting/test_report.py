import base64
import re
from pathlib import Path

import pytest
import SimpleITK as sitk

from nnunet_spine.cases import read_splits
from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.compare import compare
from nnunet_spine.evaluation.evaluate import evaluate
from nnunet_spine.reporting.report import ReportModel, write_report

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


def report(cohort, models, name: str = "report.html", **options) -> str:
    path: Path = cohort.root / name
    settings = {"comparison": None, "notes": (), "departures": {}} | options
    write_report(
        path, title="Tumors & folds", models=models, images=cohort.images, references=cohort.reference, **settings
    )
    return path.read_text(encoding="utf-8")


def test_page_is_whole_and_needs_nothing_else(cohort, judged, page_of):
    page_of(report(cohort, judged, comparison=compare({m.label: m.evaluation for m in judged}))).assert_whole()


def test_pictures_are_pngs_with_words_for_those_who_do_not_see_them(cohort, judged, page_of):
    text = report(cohort, judged)
    pictures = re.findall(r"data:image/png;base64,([\w+/=]+)", text)
    assert all(base64.b64decode(p).startswith(b"\x89PNG\r\n") for p in pictures)
    page = page_of(text)
    assert all(attributes["alt"] for tag, attributes in page.elements if tag == "img")
    labels = [attributes["aria-label"] for tag, attributes in page.elements if tag == "svg"]
    assert "Prediction A of case_a outlined on sagittal slice 1; Dice 0.40" in labels
    assert "Prediction A of case_c no prediction: sagittal slice 1; Dice 0.00" in labels
    assert "Annotation of case_b outlined on sagittal slice 1" in labels


def test_every_case_is_shown_misses_too(cohort, judged):
    text = report(cohort, judged[:1])
    for case, title in (("case_a", "Prediction, Dice 0.40"), ("case_b", "Prediction, Dice 0.00, missed")):
        part = text.partition(f"<h3>{case} ")[2].partition("</article>")[0]
        assert title in part
        assert part.index("Prediction") < part.index(">Annotation<")
    assert "case_c: the prediction is missing." in text
    assert text.count("<article") == 4


def test_table_of_each_model_comes_first_and_matches_its_evaluation(cohort, judged):
    text = report(cohort, judged, comparison=compare({m.label: m.evaluation for m in judged}))
    assert text.index("A: documented &lt;model&gt;") < text.index("B: nnU-Net") < text.index('id="comparison"')
    # Fold 0 tests case_a (0.40) and case_c (no prediction): mean 0.20, SD 0.20.
    assert '<th scope="row">fold 0</th><td>2</td><td>1/2 (50 %)</td><td>0.20 ± 0.20</td><td>0.40 ± 0.00</td>' in text
    assert "0.18 ± 0.24*" in text
    assert "B against A, Dice: no evidence of a difference between these trained models" in text


def test_texts_are_escaped_and_notes_and_departures_shown(cohort, judged):
    text = report(
        cohort,
        judged,
        notes=["far from trained: <b>no conclusion</b>"],
        departures={"nnU-Net": ["epochs: 2 instead of 400 (documented)"], "elsewhere": ["gamma"]},
    )
    assert "<title>Tumors &amp; folds</title>" in text
    assert "far from trained: &lt;b&gt;no conclusion" in text
    assert "epochs: 2 instead of 400 (documented)" in text
    assert "Not recorded." in text  # of the first model
    assert "<h3>elsewhere</h3>" in text
    assert "Research software, not a medical device." in text


def test_equal_inputs_give_equal_bytes(cohort, judged):
    assert report(cohort, judged) == report(cohort, judged, "again.html")


def test_predictions_may_be_given_one_by_one(cohort, judged):
    model = judged[0]
    one_by_one = ReportModel(model.label, model.evaluation, {c: cohort.predictions / f"{c}.nii.gz" for c in CASES})
    assert report(cohort, [one_by_one]) == report(cohort, [model], "folder.html")


def test_images_that_cannot_be_used_are_named_and_the_rest_goes_on(cohort, judged):
    (cohort.images / "case_a_0000.nii.gz").unlink()
    (cohort.images / "case_b_0000.nii.gz").write_bytes(b"no volume")
    image = sitk.ReadImage(str(cohort.images / "case_c_0000.nii.gz"))
    image.SetOrigin((9.0, 0.0, 0.0))
    sitk.WriteImage(image, str(cohort.images / "case_c_0000.nii.gz"))
    text = report(cohort, judged)
    assert "There is no image case_a_0000.nii.gz." in text
    assert "The image case_b_0000.nii.gz cannot be read." in text
    assert "Neither a reference nor a prediction on the grid of the image" in text
    assert str(cohort.root) not in text
    assert text.count('<figure class="slice">') == 1  # case_d: one slice holds both largest areas


def test_a_slice_is_shown_for_the_annotation_and_one_for_the_prediction_where_they_differ(cohort, judged):
    cohort.write_mask(cohort.predictions / "case_d.nii.gz", slice(190, 200), slice(450, 500))  # most on slice 2
    model = ReportModel("m", judged[0].evaluation, cohort.predictions)
    part = report(cohort, [model]).partition("<h3>case_d ")[2]
    assert "Slice 1 of 2: largest area of the annotation" in part
    assert "Slice 2 of 2: largest area of the prediction" in part
    assert "not on this slice" in part  # the annotation


def test_models_without_a_label_of_their_own_are_refused(cohort, judged):
    for models in ([], [judged[0], judged[0]]):
        with pytest.raises(BadInput, match="different labels"):
            report(cohort, models)
    assert not (cohort.root / "report.html").exists()
