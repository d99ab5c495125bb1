from __future__ import annotations

from engine.report.config_page import config_page
from tests.conftest import REPOSITORY


def test_the_page_of_the_config_is_that_of_this_config() -> None:
    page = (REPOSITORY / "docs" / "config.md").read_text()
    assert page == config_page(), "make it anew: python -m engine.report.config_page > docs/config.md"
