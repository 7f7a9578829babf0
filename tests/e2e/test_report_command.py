"""The command report, as a user types it, and its folder in headless Chromium, from disk."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from nnunet_spine.cli.main import main

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SOFTWARE_WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
ORANGE, BLUE = (255, 176, 0), (86, 180, 233)


def run(*argv: object) -> int:
    return main([str(part) for part in argv])


def write(path: Path, array: np.ndarray) -> None:
    """Stored as a converted case is: x to posterior, y to inferior, z to left; voxels of 2 x 2 x 4 mm."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 2.0, 4.0))
    image.SetDirection((0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


class Study:
    """Two models on three cases of 8 x 100 x 90 voxels, written without the package, and evaluated."""

    def __init__(self, root: Path) -> None:
        self.root, self.images, self.references = root, root / "imagesTr", root / "labelsTr"
        rng = np.random.default_rng(0)
        cases = ["case 1", "case_2", "case_3"]  # a space in a name is hard on links
        for case in cases:
            write(self.images / f"{case}_0000.nii.gz", rng.integers(0, 600, (8, 100, 90)).astype(np.int16))
            self.mask(self.references, case, slice(40, 60))
            self.mask(root / "one", case, slice(50, 70))
            self.mask(root / "two", case, slice(70, 90))
        folds = [{"train": [c for c in cases if c != test], "val": [test]} for test in cases]
        (root / "splits.json").write_text(json.dumps(folds), encoding="utf-8")
        for model in ("one", "two"):
            self.evaluate(model)

    def mask(self, folder: Path, case: str, rows: slice) -> None:
        mask = np.zeros((8, 100, 90), np.uint8)
        mask[2:5, rows, 30:60] = 1
        write(folder / f"{case}.nii.gz", mask)

    def evaluate(self, model: str) -> None:
        inputs = ["--reference", self.references, "--predictions", self.root / model]
        assert (
            run("evaluate", *inputs, "--splits", self.root / "splits.json", "--output", self.root / f"of_{model}") == 0
        )

    def report(self, *more: object, models: tuple[str, ...] = ("one", "two"), output: str = "report") -> int:
        pairs = [("--evaluation", self.root / f"of_{m}", "--predictions", self.root / m) for m in models]
        files = ["--references", self.references, "--images", self.images, "--output", self.root / output]
        return run("report", *[part for pair in pairs for part in pair], *files, *more)


@pytest.fixture
def study(tmp_path) -> Study:
    return Study(tmp_path)


def test_it_writes_a_folder_and_says_where_it_opens(study, capsys):
    capsys.readouterr()
    assert study.report("--note", "a caveat", "--title", "Ours & theirs") == 0
    folder = study.root / "report"
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {folder / 'index.html'}"
    names = ["cases", "contents.json", "figures", "index.html", "report.md", "tables", "viewer"]
    assert sorted(p.name for p in folder.iterdir()) == names
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "<h1>Ours &amp; theirs</h1>" in text
    assert "a caveat" in text
    # Of 20 rows each, 10 overlap: Dice 0.5; the second model's do not touch.
    assert (
        '<a href="cases/case%201.html">case 1</a></th><td>0</td><td>28.80</td><td>0.50</td><td>0.00 missed</td>' in text
    )
    assert (folder / "tables" / "B" / "per_case.csv").read_bytes() == (
        study.root / "of_two" / "per_case.csv"
    ).read_bytes()
    assert all(str(study.root).encode() not in p.read_bytes() for p in folder.rglob("*") if p.is_file())


def test_once_more_it_gives_equal_bytes(study):
    study.report(models=("one",))
    first = {p: p.read_bytes() for p in (study.root / "report").rglob("*") if p.is_file()}
    study.report(models=("one",))
    assert {p: p.read_bytes() for p in (study.root / "report").rglob("*") if p.is_file()} == first


def test_json_alone_and_exit_1_where_a_case_has_no_picture(study, capsys):
    (study.images / "case_2_0000.nii.gz").unlink()
    capsys.readouterr()
    assert study.report("--json", models=("one",)) == 1
    streams = capsys.readouterr()
    content = json.loads(streams.out)
    assert content["without_pictures"] == {"case_2": "There is no image case_2_0000.nii.gz."}
    assert Path(content["report"]).is_file()
    assert "warning: case_2: There is no image case_2_0000.nii.gz." in streams.err


def test_masks_that_are_not_those_that_were_judged_are_refused(study, capsys):
    study.mask(study.root / "one", "case_2", slice(0, 5))
    assert study.report() == 2
    assert "These predictions are not those that of_one was judged on" in capsys.readouterr().err
    study.evaluate("one")
    (study.references / "case_3.nii.gz").unlink()
    assert study.report() == 2
    errors = capsys.readouterr().err
    assert "These references are not those that of_one was judged on" in errors
    assert "case_3." in errors
    assert not (study.root / "report").exists()


def test_predictions_in_the_wrong_order_are_refused(study, capsys):
    arguments = ["--evaluation", study.root / "of_one", "--predictions", study.root / "two"]
    arguments += ["--references", study.references, "--images", study.images, "--output", study.root / "report"]
    assert run("report", *arguments) == 2
    assert "case 1, case_2, case_3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--evaluation", "absent"], "2 evaluations and 1 folders of predictions"),
        (["--images", "absent"], "no folder absent with images"),
        (["--references", "absent"], "no folder absent with references"),
        (["--labels", "x", "y"], "1 evaluations and 2 labels"),
        (["--comparison", "absent"], "no comparison.json in absent"),
        (["--output", "labelsTr"], "not of a report"),
    ],
)
def test_bad_usage_is_named_and_writes_nothing(study, capsys, monkeypatch, change, words):
    monkeypatch.chdir(study.root)
    before = sorted(study.root.rglob("*"))
    assert study.report(*change, models=("one",)) == 2
    assert words in capsys.readouterr().err
    assert sorted(study.root.rglob("*")) == before


def test_an_evaluation_that_cannot_be_checked_is_refused(study, capsys):
    (study.root / "of_one" / "manifest.json").unlink()
    assert study.report(models=("one",)) == 2
    assert "what it was made from cannot be checked" in capsys.readouterr().err


def test_evaluations_of_other_cases_are_not_set_side_by_side(study, capsys):
    (study.root / "splits.json").write_text(json.dumps([{"train": [], "val": ["case_2"]}]), encoding="utf-8")
    for folder in (study.root / "two").iterdir():  # predictions that no fold tests would be told of
        if folder.name.startswith(("case 1", "case_3")):
            folder.unlink()
    study.evaluate("two")
    assert study.report() == 2
    assert "cannot be compared" in capsys.readouterr().err


def compared(study: Study, *more: object) -> Path:
    folder = study.root / "comparison"
    arguments = [study.root / "of_one", study.root / "of_two", "--labels", "one", "two", "--output", folder]
    assert run("compare", *arguments, *more) == 0
    return folder


def test_a_comparison_gives_its_notes_its_methods_and_its_tables(study):
    folder = compared(study, "--note", "said when compared", "--methods", "ours", "theirs")
    assert study.report("--comparison", folder, "--labels", "one", "two") == 0
    page = (study.root / "report" / "index.html").read_text(encoding="utf-8")
    assert "said when compared" in page
    assert "theirs" in page
    copied = study.root / "report" / "tables" / "comparison" / "paired.csv"
    assert copied.read_bytes() == (folder / "paired.csv").read_bytes()


def test_a_comparison_of_other_evaluations_is_refused(study, capsys):
    folder = compared(study)
    study.mask(study.root / "two", "case_2", slice(45, 65))
    study.evaluate("two")
    assert study.report("--comparison", folder, "--labels", "one", "two") == 2
    assert "not these evaluations as they are now: one, two" in capsys.readouterr().err
    assert not (study.root / "report").exists()


# In the browser.


class Opened:
    """A page from disk, and what it said and asked for."""

    def __init__(self, context, path: Path) -> None:
        self.page = context.new_page()
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def started(self) -> Opened:
        """Once the viewer has drawn."""
        self.page.wait_for_selector("#viewer-message", state="hidden", timeout=60_000)
        self.page.wait_for_timeout(300)
        return self

    def canvas(self) -> np.ndarray:
        """Colours (row, column, 3) of the viewer's canvas as it is on the screen."""
        png = self.page.locator("#viewer-canvas").screenshot()
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def cast(colours: np.ndarray, towards: tuple[int, int, int]) -> int:
    """Number of pixels whose colour leans from grey the way `towards` does."""
    deviation = colours - colours.mean(axis=2, keepdims=True)
    wanted = np.array(towards) - np.mean(towards)
    length = np.linalg.norm(deviation, axis=2)
    cosine = deviation @ wanted / np.maximum(length * np.linalg.norm(wanted), 1e-9)
    return int(((cosine > 0.97) & (length > 20)).sum())


def start_browser(playwright, *options: str):
    return playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *options])


@pytest.fixture(scope="module")
def playwright():
    reason = "" if CHROMIUM else "there is no Chromium; scripts/install_test_tools.sh installs it as root"
    if reason and os.environ.get("CI"):
        pytest.fail(f"In CI nothing is skipped: {reason}.")
    if reason:
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="module")
def browser(playwright):
    found = start_browser(playwright, *SOFTWARE_WEBGL)
    yield found
    found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    study = Study(tmp_path_factory.mktemp("study"))
    assert study.report() == 0
    return study.root / "report"


@pytest.fixture(scope="module")
def context(browser):
    found = browser.new_context(viewport={"width": 1280, "height": 900})
    yield found
    found.close()


def test_index_opens_without_a_word_and_its_pictures_are_there(context, folder):
    opened = Opened(context, folder / "index.html")
    pictures = opened.page.eval_on_selector_all("img", "all => all.map(i => [i.naturalWidth, i.alt])")
    assert len(pictures) == 5
    assert all(width > 0 and alt for width, alt in pictures)
    assert opened.said == []
    assert all(url.startswith(folder.as_uri()) for url in opened.requests)


def test_links_of_index_and_cases_lead_on_and_without_scripts_the_viewer_says_what_it_needs(browser, folder):
    context = browser.new_context(java_script_enabled=False)
    page = Opened(context, folder / "index.html").page
    page.click('#cases a:text-is("case 1")')
    assert page.title() == "case 1"
    assert page.locator("#viewer-message").inner_text().startswith("The viewer needs JavaScript and WebGL 2")
    assert not page.locator("#viewer-tools").is_visible()
    page.click("text=Next: case_2")
    page.click("text=All cases")
    assert page.url == (folder / "index.html").as_uri() + "#cases"
    context.close()


def test_viewer_draws_image_annotation_and_prediction_and_nothing_leaves_the_disk(context, folder):
    opened = Opened(context, folder / "cases" / "case 1.html").started()
    colours = opened.canvas()
    assert colours.std() > 20
    assert cast(colours, ORANGE) > 500
    assert cast(colours, BLUE) > 500
    assert opened.said == []
    assert len([url for url in opened.requests if url.endswith(".js")]) == 3
    for url in opened.requests:
        assert url.startswith((folder.as_uri(), "data:", "blob:"))


def test_layers_are_switched_by_labelled_controls_and_the_keyboard(context, folder):
    opened = Opened(context, folder / "cases" / "case 1.html").started()
    page = opened.page
    page.get_by_role("checkbox", name="Annotation").focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(300)
    assert cast(opened.canvas(), BLUE) == 0
    assert cast(opened.canvas(), ORANGE) > 500
    page.get_by_role("checkbox", name="Prediction A").uncheck()
    page.get_by_role("checkbox", name="Prediction B").uncheck()
    page.get_by_role("checkbox", name="Image").uncheck()
    page.wait_for_timeout(300)
    assert cast(opened.canvas(), ORANGE) == 0
    assert (opened.canvas() > 60).mean() < 0.02  # the crosshair and letters are left
    page.get_by_role("checkbox", name="Annotation").check()
    page.wait_for_timeout(300)
    assert cast(opened.canvas(), BLUE) > 500


def test_slices_are_gone_through_by_the_keyboard_and_counted_as_the_pictures_are(context, folder):
    opened = Opened(context, folder / "cases" / "case 1.html").started()
    page = opened.page
    slider = page.get_by_role("slider", name="Sagittal slice")
    assert slider.get_attribute("aria-valuetext") == "3 of 8"  # the first of the slices with the largest annotation
    slider.focus()
    page.keyboard.press("End")  # to the patient's right: the first slice, which has no tumor
    page.wait_for_timeout(300)
    assert slider.get_attribute("aria-valuetext") == "1 of 8"
    assert cast(opened.canvas(), BLUE) == 0
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(300)
    assert slider.get_attribute("aria-valuetext") == "3 of 8"
    assert cast(opened.canvas(), BLUE) > 500
    page.select_option("#viewer-plane", "all")
    assert page.get_by_role("slider", name="Axial slice").is_visible()


def test_annotation_lies_above_the_prediction_of_the_lower_rows(context, folder):
    """Rows grow to inferior: annotation in rows 40 to 59, prediction A in 50 to 69."""
    opened = Opened(context, folder / "cases" / "case_2.html").started()
    opened.page.get_by_role("checkbox", name="Image").uncheck()
    opened.page.get_by_role("checkbox", name="Prediction B").uncheck()
    opened.page.wait_for_timeout(300)
    colours = opened.canvas()
    blue, orange = (
        np.argwhere(colours[..., 2] - colours[..., 0] > 40),
        np.argwhere(colours[..., 0] - colours[..., 2] > 40),
    )
    assert blue[:, 0].mean() < orange[:, 0].mean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_screen_in_light_and_dark(browser, folder, scheme, width):
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    context = browser.new_context(viewport=size, color_scheme=scheme)
    for name in ("index.html", "cases/case 1.html"):
        page = Opened(context, folder / name).page
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(27, 31, 35)"}[scheme]
        shown = page.eval_on_selector_all("img", "all => all.map(i => i.currentSrc)")
        assert all(source.endswith(f"_{scheme}.png") for source in shown)
    context.close()


def test_print_leaves_the_viewer_out_and_is_light(browser, folder):
    context = browser.new_context(color_scheme="dark")
    page = Opened(context, folder / "cases" / "case 1.html").page
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator("#viewer").is_visible()
    assert page.locator("figure.montage").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    context.close()


def test_without_webgl_the_page_says_so_and_the_slices_remain(playwright, folder):
    browser = start_browser(playwright, "--disable-gpu", "--disable-3d-apis")
    opened = Opened(browser.new_context(), folder / "cases" / "case 1.html")
    opened.page.wait_for_selector("text=no WebGL 2")
    assert not opened.page.locator("#viewer-tools").is_visible()
    assert opened.page.locator("figure.montage svg").first.is_visible()
    browser.close()
