"""What all tests share: where the real data lie, how hard hypothesis tries, and pictures without a screen."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("POLARS_MAX_THREADS", "1")  # two test workers already fill two cores

# The same examples on every machine: a failure seen once is seen by everybody.
settings.register_profile("fast", derandomize=True, deadline=None, database=None, max_examples=30)
settings.register_profile("thorough", derandomize=True, deadline=None, database=None, max_examples=300)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

TOP = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def top() -> Path:
    """The top folder of the checkout."""
    return TOP


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real readings and factors that lies beside the checkout of those who have it."""
    folder = TOP.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real readings (../shared/data) are not on this machine; they are not part of the package")
    return folder
