from __future__ import annotations

import pytest

from nnunet_spine.cli import console


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_before_the_first_piece_there_is_no_guess_of_the_time_left(clock, capsys) -> None:
    with console.progress_bar("work") as progress:
        clock[0] = 11.0
        progress(0, 3)
        clock[0] = 22.0
        progress(1, 3)
    assert capsys.readouterr().out.splitlines() == ["work: 0/3", "work: 1/3, about 44 s left"]


def test_a_line_comes_every_ten_seconds_and_at_once_at_the_end(clock, capsys) -> None:
    with console.progress_bar("work") as progress:
        for second in range(1, 26):
            clock[0] = float(second)
            progress(second, 26)
        progress(26, 26, "case 26")
    assert capsys.readouterr().out.splitlines() == [
        "work: 10/26, about 16 s left",
        "work: 20/26, about 6 s left",
        "work: 26/26 (case 26)",
    ]


def test_the_time_left_is_that_of_the_part_at_hand(clock, capsys) -> None:
    with console.progress_bar("work") as progress:
        for clock[0], done, total in [(10, 500, 1000), (20, 1000, 1000), (22, 1, 5), (32, 2, 5), (42, 3, 5)]:
            progress(done, total)
    assert capsys.readouterr().out.splitlines() == [
        "work: 500/1000",  # half was done when it began to tell
        "work: 1000/1000",
        "work: 2/5, about 15 s left",
        "work: 3/5, about 13 s left",
    ]


def test_a_training_that_goes_on_has_the_time_of_the_epochs_that_are_left(clock, capsys) -> None:
    with console.progress_bar("work") as progress:
        clock[0] = 30.0
        progress(201, 400)  # the first epoch that this run tells of
        clock[0] = 40.0
        progress(202, 400)
    assert capsys.readouterr().out.splitlines() == ["work: 201/400", "work: 202/400, about 1980 s left"]


def test_no_work_is_finished_work(clock, capsys) -> None:
    with console.progress_bar("work") as progress:
        progress(0, 0)
    assert capsys.readouterr().out == "work: 0/0\n"


def test_a_table_of_no_rows_and_a_row_that_does_not_fit() -> None:
    assert console.format_table(("case", "Dice"), []) == "case  Dice\n----------"
    with pytest.raises(ValueError, match="zip"):
        console.format_table(("case", "Dice"), [("a", "1", "2")])


def test_long_words_are_kept_whole(capsys) -> None:
    path = "/a" * 60
    console.print_paragraph(f"It is in {path} now.")
    assert path in capsys.readouterr().out
