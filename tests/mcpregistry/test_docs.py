"""A setting that is not described does not exist for whoever operates this."""

import re

from tests.toys import ROOT

CONTRACT = "HOST PORT WORKERS WEB_PROCESSES IMPORT_ON_START"


def test_every_setting_is_described_in_operating() -> None:
    source = (ROOT / "mcpregistry/settings.py").read_text()
    described = (ROOT / "docs/operating.md").read_text()
    names = re.findall(r"env(?:_\w+)?\(\"([A-Z0-9_]+)\"", source) + CONTRACT.split()
    assert len(names) > 25
    assert [name for name in names if f"`{name}`" not in described] == []
