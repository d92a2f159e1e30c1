"""Files of a run: they appear whole, or not at all."""

import errno
import os
from pathlib import Path

import pytest

from hgenre.errors import HgenreError
from hgenre.results import write_text


def test_what_a_full_disk_refuses_leaves_the_old_text_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report.md"
    write_text(report, "old")

    def half(path: Path, text: str, encoding: str) -> int:
        path.write_bytes(text[:1].encode(encoding))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(HgenreError, match=r"nothing can be written there \(No space left .*another place \(--report\)"):
        write_text(report, "new", option="--report")
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    assert report.read_text() == "old"
