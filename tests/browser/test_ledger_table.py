"""The ledger's table in a browser: sorted and filtered by keyboard, whole without JavaScript."""

from __future__ import annotations

from pathlib import Path

import pytest

from symvi.book import ledger

CLAIMS = Path(__file__).resolve().parents[2] / "book" / "claims"


def opened(browser, **options):
    page = browser.new_context(viewport={"width": 700, "height": 900}, **options).new_page()
    table = ledger.table(ledger.read_ledger(CLAIMS), "claims")
    page.set_content(f"<html lang='en'><body>{table}</body></html>")
    return page


def names(page) -> list[str]:
    return page.locator("tbody tr:visible th").all_inner_texts()


def test_sorting_and_filtering_by_keyboard(browser):
    page = opened(browser)
    whole = names(page)
    heading = page.get_by_role("button", name="Claim")
    heading.focus()
    page.keyboard.press("Enter")
    assert names(page)[:2] == ["cor-4.2", "def-2.1"] and sorted(names(page)) == sorted(whole)
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert names(page)[-1] == "cor-4.2"

    page.get_by_label("words").focus()
    page.keyboard.type("table 2")
    assert "tab-2" in names(page) and len(names(page)) < len(whole)
    assert page.locator("output").inner_text() == f"{len(names(page))} of {len(whole)} shown"
    page.get_by_label("words").fill("")
    page.get_by_label("kind").select_option("identity check")
    assert set(names(page)) == set(ledger.IDENTITIES) & set(whole)


def test_all_rows_without_javascript(browser):
    page = opened(browser, java_script_enabled=False)
    assert len(names(page)) == len(ledger.read_ledger(CLAIMS))
    assert page.locator("form").is_hidden()
    assert page.get_by_role("button").count() == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_scrolls_sideways(browser, width):
    page = opened(browser)
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
