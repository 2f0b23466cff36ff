"""A course of tiny lessons in a temporary folder, for the tests of notebooks, execution, report and command line."""

from pathlib import Path

LESSON = '''# %% [markdown]
# # A tiny lesson
# It prints.

# %% tags=["parameters"]
import os

profile = os.environ.get("KDCOURSE_PROFILE", "quick")
first_seed = 0

# %% [markdown]
# Some prose.

# %% tags=["main-figure"]
print(f"profile={profile} first_seed={first_seed}")
with open("executions.txt", "a") as file:
    file.write(".")

# %% tags=["exercise"]
def double(x):
    """Twice x."""
    return ...

# %% tags=["solution"]
def double(x):
    """Twice x."""
    return 2 * x

# %% tags=["nbval-check-output"]
6 * 7
'''


def write_lesson(root, slug: str = "01_tiny", text: str = LESSON) -> Path:
    """Put a lesson's source below `root` and return its path."""
    path = Path(root) / "notebooks" / "src" / f"{slug}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def executions(root) -> int:
    """How often a lesson's cells were executed with `root` as working folder."""
    path = Path(root) / "executions.txt"
    return len(path.read_text()) if path.exists() else 0


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
