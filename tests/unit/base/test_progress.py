from __future__ import annotations

import inspect

from nnunet_spine.progress import Progress, silent


def test_silent_takes_what_progress_takes_and_says_nothing(capsys) -> None:
    assert silent(1, 2) is None
    assert silent(2, 2, "case 2") is None
    assert capsys.readouterr() == ("", "")
    own = list(inspect.signature(silent).parameters.values())
    assert [(p.name, p.default) for p in own] == [
        (p.name, p.default) for p in list(inspect.signature(Progress.__call__).parameters.values())[1:]
    ]
