"""The doctor finds what is broken and says what to do."""

import shutil

import pytest

from kdcourse import doctor, lesson
from kdcourse.data import CHECKSUMS


def _run(monkeypatch, capsys, names, root=lesson.ROOT):
    monkeypatch.setattr(doctor, "CHECKS", {name: doctor.CHECKS[name] for name in names})
    return doctor.main(root), capsys.readouterr().out


def test_a_sound_installation_passes(monkeypatch, capsys):
    code, said = _run(monkeypatch, capsys, doctor.CHECKS)
    assert code == 0, said
    assert [line.split(":")[0] for line in said.splitlines()] == [f"[OK] {name}" for name in doctor.CHECKS]


def test_damaged_and_missing_data_are_named(monkeypatch, capsys, tmp_path):
    for name in CHECKSUMS:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(lesson.ROOT / "data" / name, tmp_path / "data" / name)
    assert _run(monkeypatch, capsys, ["data"], tmp_path)[0] == 0
    first, second, *_ = CHECKSUMS
    damaged = tmp_path / "data" / first
    content = bytearray(damaged.read_bytes())
    content[1000] ^= 1
    damaged.write_bytes(content)
    (tmp_path / "data" / second).unlink()
    code, said = _run(monkeypatch, capsys, ["data"], tmp_path)
    assert code == 1
    assert said.startswith("[FAIL] data:")
    assert f"{first} has md5" in said
    assert CHECKSUMS[first] in said
    assert f"{second} is missing" in said
    assert "what to do" in said


def test_old_and_missing_packages_are_named(monkeypatch, capsys):
    from importlib import metadata

    monkeypatch.setattr(
        metadata, "requires", lambda name: ["numpy>=999", "no-such-package-anywhere", 'ruff>=999; extra == "test"']
    )
    code, said = _run(monkeypatch, capsys, ["packages"])
    assert code == 1
    assert "is not >=999" in said
    assert "no-such-package-anywhere is missing" in said
    assert "ruff" not in said


def test_too_many_threads_are_named(monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    code, said = _run(monkeypatch, capsys, ["threads"])
    assert code == 1
    assert "unset OMP_NUM_THREADS" in said


@pytest.mark.parametrize("name", list(doctor.CHECKS))
def test_a_check_that_breaks_down_is_a_failure_not_a_crash(monkeypatch, capsys, name):
    def broken(root):
        raise ImportError("no module of that name")

    monkeypatch.setattr(doctor, "CHECKS", {name: broken})
    assert doctor.main() == 1
    assert f"[FAIL] {name}: ImportError" in capsys.readouterr().out
