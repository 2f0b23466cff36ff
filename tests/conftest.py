"""Shared by all tests: no test reads or writes the user's cache, records or course settings."""

import pytest
import torch

from kdcourse import lesson


@pytest.fixture(autouse=True)
def _isolated(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "cache"))
    for name in ("KDCOURSE_RESULTS", "KDCOURSE_DATA", "KDCOURSE_PROFILE", "KDCOURSE_DTYPE", "KDCOURSE_JOBS"):
        monkeypatch.delenv(name, raising=False)
    before, threads = lesson.current(), torch.get_num_threads()
    yield
    lesson.adopt(before)
    torch.set_num_threads(threads)
