"""A few of the book's rows are measured again, and come out as they are stored."""

import zlib

import pytest

from seglab.evidence import catalog, check, read
from seglab.evidence.results import path_of

LONGEST = 25.0  # seconds that a row took, compiling included
LEFT_OUT = {
    "real-images",  # needs archives, and a minute a row
    "carry-over",  # needs archives
    "rare-classes",  # needs archives
    "comparison-rates",  # a minute a row
    # have a budget of seconds, and so depend on what else the machine does:
    "comparison",
    "choosing",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*catalog.names()} - LEFT_OUT))
def test_a_row_is_as_it_was(name):
    """Which row is drawn follows the file, so that changed rows are drawn anew."""
    experiment = catalog.get(name)
    if not read(experiment):
        pytest.skip(f"{name} has no rows yet")
    draw = zlib.crc32(path_of(experiment, None).read_bytes())
    (rerun,) = check(experiment, count=1, seed=draw, longest=LONGEST, progress=False)
    assert not rerun.failed, str(rerun)
