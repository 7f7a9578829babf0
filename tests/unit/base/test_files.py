from __future__ import annotations

import hashlib
import math
import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_spine.errors import BadInput, NotFound, NotWritable
from nnunet_spine.files import (
    csv_text,
    make_folder,
    numbered_rows,
    obstacle,
    read_csv,
    read_json,
    read_object,
    replacing,
    sha256,
    staged_folder,
    write_bytes,
    write_csv,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_replacing_leaves_the_earlier_file_where_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("power cut")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_replacing_keeps_the_suffix_for_writers_that_go_by_it(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        assert temporary.parent == tmp_path
        temporary.write_text("x")
    assert names(tmp_path) == ["a.nii.gz"]


def test_replacing_passes_our_errors_through(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="inside"), replacing(tmp_path / "a"):
        raise NotFound("inside")


def test_replacing_says_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(NotWritable, match="a.txt"), replacing(tmp_path / "a.txt"):
        pass  # nothing was written, so there is nothing to move


def test_mode_is_set_before_any_content_is_there(tmp_path: Path) -> None:
    write_bytes(tmp_path / "secret", b"x", mode=0o600)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("place", ["/proc/nnunet_spine", "file/below"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotWritable, match="Choose an output folder"):
        make_folder(tmp_path / place)


def test_json_refuses_nan_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"dice": math.nan})
    assert names(tmp_path) == []


def test_json_that_is_broken_names_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1,\n "b": }')
    with pytest.raises(BadInput, match="line 2, column 7"):
        read_json(tmp_path / "a.json")


@given(
    st.lists(
        st.fixed_dictionaries({"a": st.text(alphabet="xy,\"' ä\n").map(str.strip), "b": st.integers()}), max_size=5
    )
)
def test_csv_comes_back(tmp_path_factory, rows: list[dict[str, object]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    write_csv(path, ("a", "b"), rows)
    assert read_csv(path, ("a", "b")) == [{"a": row["a"], "b": str(row["b"])} for row in rows]


def test_csv_details(tmp_path: Path) -> None:
    assert csv_text(("a", "b"), [{"a": None, "b": 0}]) == "a,b\n,0\n"
    (tmp_path / "bom.csv").write_bytes("\ufeff a , b\n1, 2 \n".encode())
    assert read_csv(tmp_path / "bom.csv", ("a", "b")) == [{"a": "1", "b": "2"}]
    (tmp_path / "short.csv").write_text("a,b\n1\n")
    assert read_csv(tmp_path / "short.csv", ("a",)) == [{"a": "1", "b": ""}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\n1\n", "no column b"),
        (b"", "no header"),
        (b"a,b\n1,2,3\n", "line 2"),
        (b"a,b\n\xff\n", "UTF-8"),
        (b'a,b\n1,"2\n3,4\n', "quotation"),
    ],
)
def test_csv_that_cannot_be_used(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(BadInput, match=words):
        read_csv(tmp_path / "a.csv", ("a", "b"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no\.csv"):
        read_csv(tmp_path / "no.csv", ())


def test_staged_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), staged_folder(tmp_path / "out") as staging:
        (staging / "half").write_text("x")
        raise RuntimeError
    assert names(tmp_path) == []
    with staged_folder(tmp_path / "out") as staging:
        (staging / "whole").write_text("x")
        assert not (tmp_path / "out").exists()
    assert names(tmp_path / "out") == ["whole"]
    with pytest.raises(NotWritable, match="not empty"), staged_folder(tmp_path / "out"):
        pass


def test_staged_folder_takes_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with staged_folder(tmp_path / "out") as staging:
        (staging / "a").write_text("x")
    assert names(tmp_path / "out") == ["a"]


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-", "'-"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("'=1+1", "''=1+1"),
        ("-0.25", "-0.25"),
        ("+1e-3", "+1e-3"),
        (-0.25, "-0.25"),
        ("'quoted'", "'quoted'"),
        ("a=b", "a=b"),
    ],
)
def test_no_cell_starts_a_formula(value: object, cell: str) -> None:
    assert csv_text(("a",), [{"a": value}]) == f"a\n{cell}\n"


@given(st.lists(st.text(alphabet="=+-@'\t x1\uff1d,\"").map(str.strip), max_size=5))
def test_cells_are_read_back_as_they_were(tmp_path_factory, values: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    write_csv(path, ("a", "b"), [{"a": value, "b": "x"} for value in values])
    assert [row["a"] for row in read_csv(path, ("a", "b"))] == values


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": NaN}', "NaN, which is no number"),
        ("[-Infinity]", "-Infinity"),
        ("1" * 5000, "more than 4000 digits"),
    ],
)
def test_json_that_nobody_writes(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(BadInput, match=words):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "words"), [("[]", "a list"), ('"x"', "a text"), ("3", "a number"), ("null", "nothing")]
)
def test_an_object_is_expected(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(BadInput, match=f"holds {words}"):
        read_object(tmp_path / "a.json")


def make_special(path: Path, kind: str) -> None:
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path))
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to("elsewhere")


@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a folder", "a link"])
def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    make_special(tmp_path / "a.csv", kind)
    before = (tmp_path / "a.csv").lstat()
    with pytest.raises(NotWritable, match=f"is {kind}"):
        write_bytes(tmp_path / "a.csv", b"x")
    after = (tmp_path / "a.csv").lstat()
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    assert names(tmp_path) == ["a.csv"]


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(NotWritable, match="is a device"):
        write_bytes(Path("/dev/null"), b"x")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_name_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotWritable, match="Cannot write"):
        write_bytes(tmp_path / name, b"x")
    with pytest.raises(NotWritable, match="Cannot create"):
        make_folder(tmp_path / name)
    with pytest.raises((NotFound, BadInput)):
        read_json(tmp_path / name)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_is_read_however_a_spreadsheet_separates_it(
    tmp_path: Path, separator: str, encoding: str, end: str
) -> None:
    path = tmp_path / "t.csv"
    lines = [separator.join(row) for row in (("case", "patient", "x"), ("a", '"b, c; d"', "1"), ("ü", "f", "2"))]
    path.write_bytes((end.join(lines) + end).encode(encoding))
    assert read_csv(path, ("case", "patient")) == [
        {"case": "a", "patient": "b, c; d", "x": "1"},
        {"case": "ü", "patient": "f", "x": "2"},
    ]


@pytest.mark.parametrize(
    ("content", "row"),
    [
        (b"sep=;\r\ncase;patient\r\na;b\r\n", {"case": "a", "patient": "b"}),
        (b"sep=|\ncase|patient\na|b\n", {"case": "a", "patient": "b"}),
        (b'"case";"patient"\n"a";"1,5"\n', {"case": "a", "patient": "1,5"}),
        (b"case,patient;sex\na,b;c\n", None),
    ],
)
def test_what_a_header_says_of_its_separator_counts(tmp_path: Path, content: bytes, row: dict[str, str] | None) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    if row is None:  # commas and semicolons: the second column is none of ours
        with pytest.raises(BadInput, match="has no column patient in its first line, which is separated by commas"):
            read_csv(path, ("case", "patient"))
    else:
        assert read_csv(path, ("case", "patient")) == [row]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"case;pat\n", "no column patient in its first line, which is separated by semicolons"),
        (b"case\tpat\n", "no column patient in its first line, which is separated by tabs"),
        (b"case|patient\n", "no column case, patient in its first line, which has no comma, semicolon or tab"),
        (b'"case,patient"\n', "no column case, patient in its first line, which is one value in quotation marks"),
        (b"", "has no header. Give a first line with the columns case, patient, separated by commas, semicolons or"),
        (b"case;patient\na;b;c\n", "line 2: more fields than the header has. Quote values with semicolons"),
        (b"sep=;\ncase;patient\na;b;c\n", "line 3: more fields than the header has"),
        (b"case;patient;\na;b;c\n", "line 2: more fields than the header has"),
        (b"Case;case;patient\na;b;c\n", "has two columns case"),
        ("case;patient\nü;b\n".encode("cp1252"), "is not UTF-8 text"),
        (b"\xff\xfea", "is not UTF-16"),
    ],
)
def test_a_header_that_fits_no_separator_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        read_csv(path, ("case", "patient"))


def test_what_spreadsheets_leave_behind_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"Case;PATIENT ;;\r\na;b;;\r\n;;;\r\n \r\nc;d\r\ne;;;;;\r\n;;;\r\n")
    assert numbered_rows(path, ("case", "patient")) == [
        (2, {"case": "a", "patient": "b"}),
        (5, {"case": "c", "patient": "d"}),
        (6, {"case": "e", "patient": ""}),
    ]
    path.write_bytes(b"sep=;\ncase;patient\n;\na;b\n")
    assert numbered_rows(path, ("case", "patient")) == [(4, {"case": "a", "patient": "b"})]


def test_what_stands_where_a_file_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    told = {path.name: obstacle(path) for path in tmp_path.iterdir()}
    assert told == {
        "file": "",
        "link": "",
        "dangling": "a link to a file that is missing",
        "loop": "out of reach (Too many levels of symbolic links)",
        "pipe": "a pipe",
        "folder": "a folder",
    }
    assert obstacle(tmp_path / "none") == ""
    assert obstacle(Path("/dev/zero")) == "a device"
    assert obstacle(tmp_path / ("x" * 300)) == "out of reach (File name too long)"


def test_a_link_that_leads_to_no_folder_is_no_place_for_one(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("dangling", "loop"):
        with pytest.raises(NotWritable, match="is a link that leads to no folder"), staged_folder(tmp_path / name):
            pass
    assert not (tmp_path / "nothing").exists()


def test_a_name_with_the_signs_of_a_pattern_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / ".ab.partial.foreign").mkdir()
    with staged_folder(tmp_path / "a*") as staging:
        (staging / "x").write_text("x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ab.partial.foreign", "a*"]


def test_what_is_no_character_becomes_its_escape_in_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "a\udcff"})
    assert (tmp_path / "a.json").read_bytes() == b'{\n  "name": "a\\udcff"\n}\n'
    assert read_json(tmp_path / "a.json") == {"name": "a\udcff"}
