"""The interactive figures in a browser: Python's numbers, by keyboard, whole without JavaScript."""

from __future__ import annotations

import re

import pytest
from figures import FIGURES

from symvi.book import interactive

SETTINGS = [
    ("two_units", {"separation": delta, "num_permutations": k})
    for delta, k in ((0, 2), (0.05, 64), (0.85, 3), (1.5, 20), (3.35, 7), (6, 64))
] + [
    ("downhill", {"alpha": alpha, "coordinates": r, "mean": mean, "sd": sd})
    for alpha, r, mean, sd in (
        (4.5, 1, 0, 1),
        (5.2, 1, 0, 1),
        (6.2, 1, 3.1, 4.4),  # exactly half-way, where symmetry holds it
        (3.5, 4, 1.6, 0.4),
        (7, 8, 8, 2),
        (2, 2, -1, 3),
    )
]
SETTINGS += [
    ("smallest", {"slope": slope, "noise": noise})
    for slope, noise in ((0.05, 1), (0.05, 5), (0.12, 3.5), (0.2, 2.5), (0.2, 5))
]
SETTINGS += [
    ("widths", {"factor": factor, "place": place, "num_permutations": k})
    for factor, place, k in ((0.2, 0, 10), (1.4, 3, 50), (0.6, 4, 20), (2, 6, 100))
]


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a figure as a page of its own without a network; at the end nothing has gone wrong."""
    faults, contexts = [], []

    def show(name, theme="light", width=700, **options):
        body = FIGURES[name]()._repr_html_()
        file = tmp_path / f"{name}-{theme}.html"
        head = "<meta charset='utf-8'><title>Figure</title>"
        page_html = f"<html lang='en' data-theme='{theme}'>{head}<body>{body}</body></html>"
        file.write_text("<!doctype html>" + page_html, encoding="utf-8")
        assert file.stat().st_size <= 300_000
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        context.route("http*://**", lambda route: (faults.append("network"), route.abort()))
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(file.as_uri())
        return page

    yield show
    for context in contexts:
        context.close()
    assert faults == []


def shown(page) -> dict[str, str]:
    cells = page.locator("[data-value]").all()
    return {cell.get_attribute("data-value"): cell.inner_text() for cell in cells}


def slide(page, name: str, value) -> None:
    page.locator(f"input[name={name}]").fill(str(value))


def expected_of(figure, settings, page) -> dict[str, str]:
    values = figure.at(**settings)
    return {name: values[name] for name in shown(page)}


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_the_browser_computes_what_python_computes(opened, name, settings):
    page, figure = opened(name), FIGURES[name]()
    for slider, value in settings.items():
        slide(page, slider, value)
    assert shown(page) == expected_of(figure, settings, page)
    sentence = page.locator("[aria-live]").inner_text()
    assert sentence == figure.sentence.format(**figure.at(**settings))
    check_parts(page, figure.scene(**settings))


def check_parts(page, scene) -> None:
    """All parts of the picture are where Python puts them."""
    for part in page.locator("[data-part]").all():
        for attribute, value in scene.parts[part.get_attribute("data-part")].items():
            if attribute == "text":
                assert part.text_content() == value
            else:
                assert same_place(part.get_attribute(attribute), value)


def test_buttons_do_what_python_does(opened):
    page, figure, pressed = opened("copies"), interactive.copies(), []
    for name in ("swap_1", "flip_1", "swap_2", "flip_3", "flip_2", "swap_1", "flip_1", "flip_1"):
        page.get_by_role("button", name=figure.buttons[name], exact=True).click()
        pressed.append(name)
        assert shown(page) == {n: figure.at(*pressed)[n] for n in shown(page)}
        check_parts(page, figure.scene(*pressed))
    sentence = page.locator("[aria-live]").inner_text()
    assert sentence == figure.sentence.format(**figure.at(*pressed))
    page.get_by_role("button", name="start afresh").click()
    check_parts(page, figure.scene())


def same_place(first: str, second: str) -> bool:
    """Equal SVG attributes, save for the last digit of numbers."""
    numbers = r"-?\d+(?:\.\d+)?"
    pairs = zip(re.findall(numbers, first), re.findall(numbers, second), strict=True)
    last = 0.11 if first.startswith("M") else 0.011  # paths have one digit, points two
    return all(abs(float(a) - float(b)) < last for a, b in pairs)


@pytest.mark.parametrize("name", FIGURES)
def test_each_control_moves_by_keyboard(opened, name):
    page, figure = opened(name), FIGURES[name]()
    page.keyboard.press("Tab")
    for slider in figure.sliders:
        control = page.get_by_label(slider.label)
        assert control.evaluate("control => control === document.activeElement")
        before = page.locator("[data-part]").evaluate_all("parts => parts.map(p => p.outerHTML)")
        page.keyboard.press("ArrowRight")
        value = float(control.input_value())
        assert value == pytest.approx(slider.value + slider.step)
        output = page.locator(f"output[for={control.get_attribute('id')}]")
        text = interactive.number(value, slider.digits)
        if slider.shown:
            text = slider.shown[slider.step_of(value)]
            assert control.get_attribute("aria-valuetext") == text
        assert output.inner_text() == text
        after = page.locator("[data-part]").evaluate_all("parts => parts.map(p => p.outerHTML)")
        assert before != after
        page.keyboard.press("Tab")
    for name, label in figure.buttons.items():
        control = page.get_by_role("button", name=label, exact=True)
        assert control.evaluate("control => control === document.activeElement")
        page.keyboard.press("Enter")
        check_parts(page, figure.scene(name))
        page.keyboard.press("Tab")
        page.locator("button[name=afresh]").evaluate("button => button.click()")


def test_a_unit_is_dragged(opened):
    page = opened("two_units")
    box = page.locator("svg[data-panel=units]").bounding_box()
    dot = page.locator("[data-part=mean]").bounding_box()
    x, y = dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] * 286 / 340 * 2 / 12, y)  # two standard deviations
    page.mouse.up()
    page.mouse.move(x, y)
    assert float(page.locator("input[name=separation]").input_value()) == pytest.approx(
        3.5, abs=0.1
    )


@pytest.mark.parametrize("name", FIGURES)
def test_the_picture_is_there_without_javascript(opened, name):
    page, figure = opened(name, java_script_enabled=False), FIGURES[name]()
    assert shown(page) == expected_of(figure, {}, page)
    assert page.locator("form").is_hidden()
    for svg in page.locator("figure > .panels > svg").all():
        assert svg.bounding_box()["width"] > 200
        assert svg.locator("[data-part]").count() > 0
    assert page.locator("[aria-live]").inner_text() == figure.sentence.format(**figure.at())


@pytest.mark.parametrize("name", FIGURES)
def test_the_start_is_where_python_drew_it(opened, name):
    still = shown(opened(name, java_script_enabled=False))
    assert shown(opened(name)) == still


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", FIGURES)
def test_no_page_scrolls_sideways(opened, name, width):
    page = opened(name, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", FIGURES)
def test_colours_follow_the_scheme(opened, name):
    read = "e => getComputedStyle(e).getPropertyValue('--symvi-blue')"
    light, dark = (
        opened(name, theme).locator("figure").evaluate(read) for theme in ("light", "dark")
    )
    assert light != dark
