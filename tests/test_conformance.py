"""Our client passes the MCP conformance suite in both revisions, where the suite is there to ask."""

import pytest

from tests.conformance.__main__ import REVISIONS, run, why_not

pytestmark = [pytest.mark.slow, pytest.mark.timeout(630)]


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("revision", REVISIONS)
def test_every_scenario_that_a_revision_requires_passes(revision: str) -> None:
    status, said = run(revision)
    assert status == 0, said[-4_000:]
