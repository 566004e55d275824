"""report.html in a real Chromium: filters and sorting work, nothing is fetched, nothing is wider than a phone."""

import shutil
from pathlib import Path

import pytest
from finished_runs import SCRIPT, finished_run

from bertlab.report import html
from bertlab.report.render import render
from bertlab.report.run_folder import RunFolder

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium and chromedriver on the PATH")

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folders = {}
    for kind in ("three", "multi", "regression"):
        folders[kind] = finished_run(tmp_path_factory.mktemp(kind), kind, skill=0.8)
        render(RunFolder.read(folders[kind]))
    folders["many labels"] = folders["multi"].parent / "many_labels"
    shutil.copytree(folders["multi"], folders["many labels"])
    for path in folders["many labels"].rglob("*.tsv"):
        path.write_text(path.read_text(encoding="utf-8").replace("joy", "exhilaration").replace("fear", "trepidation"))
    results = folders["many labels"] / "results.json"
    results.write_text(results.read_text().replace("joy", "exhilaration").replace("fear", "trepidation"))
    render(RunFolder.read(folders["many labels"]))
    return folders


def show(browser, folder: Path, width=1440, dark=False):
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    # Without smooth scrolling a click lands where the driver saw the button.
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})
    browser.get((folder / "report.html").as_uri())
    assert browser.title == f"{folder.name}: report"


def shown(browser):
    return [
        row for row in browser.find_elements(By.CSS_SELECTOR, "#misclassified-table tbody tr") if row.is_displayed()
    ]


def column(browser, place):
    rows = "[...document.querySelectorAll('#misclassified-table tbody tr')]"
    return browser.execute_script(f"return {rows}.map(r => r.cells[arguments[0]].textContent)", place)


def show_all(browser):
    button = browser.find_element(By.ID, "show-all")
    if button.is_displayed():
        browser.execute_script("arguments[0].click()", button)


def type_into(browser, text):
    field = browser.find_element(By.ID, "filter-text")
    field.clear()
    field.send_keys(text)


@pytest.mark.parametrize("kind", ["three", "multi", "regression"])
def test_no_errors_and_nothing_is_fetched(browser, runs, kind):
    browser.get_log("browser"), browser.get_log("performance")
    show(browser, runs[kind])
    assert browser.get_log("browser") == []
    requests = [
        entry["message"] for entry in browser.get_log("performance") if 'requestWillBeSent"' in entry["message"]
    ]
    assert requests and not [message for message in requests if '"url":"http' in message]
    widths = "return [...document.querySelectorAll('figure svg')].map(plot => plot.getBoundingClientRect().width)"
    assert all(width > 150 for width in browser.execute_script(widths))


def test_the_filters_filter(browser, runs):
    show(browser, runs["three"])
    show_all(browser)
    everything = len(shown(browser))
    assert browser.find_element(By.ID, "shown").text == f"{everything} of {everything} examples"
    Select(browser.find_element(By.ID, "filter-true")).select_by_visible_text("neutral")
    some = shown(browser)
    assert 0 < len(some) < everything
    assert all(row.find_elements(By.TAG_NAME, "td")[2].text == "neutral" for row in some)
    Select(browser.find_element(By.ID, "filter-predicted")).select_by_visible_text("negative")
    fewer = shown(browser)
    assert 0 < len(fewer) < len(some)
    assert browser.find_element(By.ID, "shown").text == f"{len(fewer)} of {everything} examples"
    browser.find_element(By.ID, "filter-reset").click()
    WebDriverWait(browser, 5).until(lambda _: len(shown(browser)) == everything)
    type_into(browser, "OWNED")
    with_script = shown(browser)
    assert 0 < len(with_script) < everything and all(SCRIPT in row.text for row in with_script)
    type_into(browser, "there is no such text")
    assert shown(browser) == []
    Select(browser.find_element(By.ID, "filter-split")).select_by_visible_text("validation")
    type_into(browser, " ")
    assert len(shown(browser)) == everything


def test_twenty_rows_are_shown_at_first_and_all_on_demand(browser, runs):
    show(browser, runs["multi"])
    total = len(browser.find_elements(By.CSS_SELECTOR, "#misclassified-table tbody tr"))
    assert total > 20 == len(shown(browser))
    assert browser.find_element(By.ID, "shown").text == f"20 of {total} examples"
    assert browser.find_element(By.ID, "show-all").text == f"Show all {total}"
    # The first twenty by another order are others.
    browser.execute_script("document.querySelector('th[data-sort] + th button').click()")
    numbers = [int(row.find_elements(By.TAG_NAME, "td")[1].text) for row in shown(browser)]
    assert numbers == sorted(map(int, column(browser, 1)), reverse=True)[:20]
    show_all(browser)
    assert len(shown(browser)) == total and not browser.find_element(By.ID, "show-all").is_displayed()


def test_a_row_of_several_labels_is_found_by_each(browser, runs):
    show(browser, runs["multi"])
    Select(browser.find_element(By.ID, "filter-true")).select_by_visible_text("$5 | <b>")
    cells = [row.find_elements(By.TAG_NAME, "td")[2].text for row in shown(browser)]
    assert cells and all("$5 | <b>" in cell for cell in cells)


@pytest.mark.parametrize(("header", "place"), [("confidence", 4), ("tokens", 5), ("row", 1)])
def test_the_headers_sort_numbers_by_keyboard(browser, runs, header, place):
    show(browser, runs["three"])
    button = browser.find_element(By.XPATH, f"//th/button[normalize-space()='{header}']")
    before = button.find_element(By.XPATH, "..").get_attribute("aria-sort")
    directions = []
    for _ in range(2):
        browser.execute_script("arguments[0].focus()", button)
        button.send_keys(Keys.ENTER)
        values = [float(text.rstrip("✂")) for text in column(browser, place)]
        directions.append(button.find_element(By.XPATH, "..").get_attribute("aria-sort"))
        assert values == sorted(values, reverse=directions[-1] == "descending")
    assert sorted(directions) == ["ascending", "descending"] and directions[0] != before
    marked = browser.find_elements(By.CSS_SELECTOR, "th[aria-sort=ascending], th[aria-sort=descending]")
    assert len(marked) == 1


def test_names_sort_by_alphabet_and_every_control_is_reached_by_tab(browser, runs):
    show(browser, runs["three"])
    browser.find_element(By.XPATH, "//th/button[normalize-space()='true']").click()
    names = column(browser, 2)
    assert names == sorted(names) and len(set(names)) == 3
    reached = set()
    for _ in range(60):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(browser.switch_to.active_element.get_attribute("id"))
    assert {"filter-split", "filter-true", "filter-predicted", "filter-text", "filter-reset"} <= reached


def test_the_texts_of_rows_with_many_labels_are_beside_them_on_a_wide_screen(browser, runs):
    folder = runs["many labels"]
    show(browser, folder, 1000)
    table, room = browser.execute_script(
        "const t = document.getElementById('misclassified-table'); return [t.scrollWidth, t.parentNode.clientWidth]"
    )
    assert table == room


def test_a_long_text_opens(browser, runs):
    show(browser, runs["three"])
    details = browser.find_element(By.CSS_SELECTOR, "#misclassified-table details")
    closed = details.size["height"]
    details.find_element(By.TAG_NAME, "summary").click()
    assert details.size["height"] > closed and len(details.text) > html.SHOWN_CHARACTERS


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("kind", ["three", "regression"])
def test_the_page_is_as_wide_as_the_screen(browser, runs, kind, width, dark):
    show(browser, runs[kind], width, dark)
    # The scroll bar takes some of the width of the window.
    page_width, room = browser.execute_script(
        "const e = document.documentElement; return [e.scrollWidth, e.clientWidth]"
    )
    assert page_width == room and width - 20 <= room <= width
    wide = (
        "return [...document.querySelectorAll('main > *, header, figure svg')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).length"
    )
    assert browser.execute_script(wide) == 0
    ink, paper = browser.execute_script(
        "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    )
    light = [sum(map(int, colour.strip("rgba()").split(",")[:3])) for colour in (ink, paper)]
    assert (light[0] > light[1] + 400) if dark else (light[1] > light[0] + 400)
    captions = (
        "return [...document.querySelectorAll('caption:not(.hidden)')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth).map(e => e.textContent)"
    )
    assert browser.execute_script(captions) == []
    inks = "return [...document.querySelectorAll('figure svg text')].map(text => getComputedStyle(text).fill)"
    assert set(browser.execute_script(inks)) == {ink}
