"""A lesson runs with the network cut off: every connection that leaves this machine is refused and would be noticed."""

import os
import subprocess
import sys
import textwrap

import pytest

from kdcourse import lesson

CUT = textwrap.dedent(
    """
    import os, socket

    _connect, _resolve = socket.socket.connect, socket.getaddrinfo

    def _refuse(host):
        with open(os.environ["ATTEMPTS"], "a") as log:
            log.write(f"{host}\\n")
        raise OSError("Network is unreachable (cut by the test)")

    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(("127.", "::1", "localhost")):
            _refuse(address[0])
        return _connect(self, address)

    def getaddrinfo(host, *rest, **named):
        if host not in (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", b"localhost", b"127.0.0.1"):
            _refuse(host)
        return _resolve(host, *rest, **named)

    socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
    """
)


@pytest.fixture
def cut(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(CUT)
    return os.environ | {"PYTHONPATH": str(tmp_path), "ATTEMPTS": str(tmp_path / "attempts"), "OMP_NUM_THREADS": "1"}


def test_the_cut_cuts(cut, tmp_path):
    code = "import urllib.request; urllib.request.urlopen('http://example.org', timeout=5)"
    run = subprocess.run([sys.executable, "-c", code], env=cut, capture_output=True, text=True, timeout=60)
    assert "cut by the test" in run.stderr
    assert (tmp_path / "attempts").read_text() == "example.org\n"


@pytest.mark.slow
def test_a_lesson_runs_without_a_network(cut, tmp_path):
    command = [sys.executable, "-m", "kdcourse.cli", "run", "00", "--profile", "smoke", "--out", str(tmp_path / "build")]
    run = subprocess.run(command, env=cut, cwd=lesson.ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    assert (tmp_path / "build" / "notebooks" / "00_start_here.ipynb").exists()
    assert not (tmp_path / "attempts").exists(), (tmp_path / "attempts").read_text()
