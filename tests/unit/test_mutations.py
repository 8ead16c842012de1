from pathlib import Path

import pytest

from tests.chaos.mutations.test_guards import MUTATIONS, mutate


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_guard_that_a_mutation_takes_out_is_still_there(tmp_path: Path, name: str) -> None:
    """Else only `make mutations` would tell, which takes a quarter of an hour."""
    mutate(tmp_path, MUTATIONS[name])
