"""The page as a browser has it; skipped where there is no Chromium."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from diffusers import DDPMScheduler
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ann2snn_diffusion.evaluation.fidelity import FidelitySpec
from ann2snn_diffusion.models.loading import Source, load_converted
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.workflows.convert import convert_to_folder
from ann2snn_diffusion.workflows.report import report_to_file
from ann2snn_diffusion.workflows.result_folder import Writing
from tests.conftest import build_unet

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
QUICK = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)
OVERFLOWING = """
const wide = document.documentElement.clientWidth + 1;
return [...document.querySelectorAll("body *")]
  .filter((one) => !one.closest(".scroll, dd") || one.matches(".scroll"))
  .filter((one) => one.getBoundingClientRect().right > wide).map((one) => one.outerHTML.slice(0, 80));
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="no chromium, or no chromedriver"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page."""
    folder = tmp_path_factory.mktemp("page")
    source = Source(build_unet(), DDPMScheduler(), "tiny")  # pyright: ignore[reportArgumentType]
    convert_to_folder(source, folder / "snn", calibration=QUICK, writing=Writing(samples=0))
    report_to_file(load_converted(folder / "snn"), folder / "page.html", fidelity=FidelitySpec(1, 3))
    return (folder / "page.html").as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Chrome, page: str) -> Chrome:
    """The browser with the page freshly loaded."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page)
    return browser


def column(browser: Chrome, number: int) -> list[str]:
    """The cells of a column of the table of sites."""
    script = "return [...document.querySelectorAll('#sites tbody tr')].map((row) => row.cells[arguments[0]].innerText)"
    return browser.execute_script(script, number)


def test_nothing_is_fetched_and_nothing_is_wrong(opened: Chrome, page: str) -> None:
    opened.find_element(By.ID, "step").send_keys(Keys.ARROW_LEFT)
    messages: list[Any] = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = {one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {page}
    assert opened.get_log("browser") == []
    script = "return [...document.images].every((one) => one.complete && one.naturalWidth > 0 && one.alt)"
    assert opened.execute_script(script)


def test_the_table_sorts_by_keyboard_and_says_so(opened: Chrome) -> None:
    buttons = opened.find_elements(By.CSS_SELECTOR, "#sites th button")
    heads = opened.find_elements(By.CSS_SELECTOR, "#sites th")
    names, spikes = column(opened, 1), column(opened, 4)
    assert [head.get_attribute("aria-sort") for head in heads] == ["ascending", *["none"] * (len(heads) - 1)]
    buttons[4].send_keys(Keys.ENTER)
    assert column(opened, 4) == sorted(spikes, key=float, reverse=True) != spikes
    buttons[4].send_keys(Keys.SPACE)
    assert column(opened, 4) == sorted(spikes, key=float)
    assert heads[4].get_attribute("aria-sort") == "ascending"
    assert heads[0].get_attribute("aria-sort") == "none"
    buttons[1].send_keys(Keys.ENTER)
    assert sorted(column(opened, 1)) == sorted(names)
    assert column(opened, 1)[0] == min(names)
    buttons[0].send_keys(Keys.ENTER)
    assert column(opened, 1) == names


def test_a_click_of_the_mouse_sorts(opened: Chrome) -> None:
    button = opened.find_elements(By.CSS_SELECTOR, "#sites th button")[4]
    spikes = column(opened, 4)
    ActionChains(opened).scroll_to_element(button).move_to_element(button).click().perform()
    assert column(opened, 4) == sorted(spikes, key=float, reverse=True) != spikes


def test_the_slider_changes_all_pictures_and_tells_the_step(opened: Chrome) -> None:
    pictures = opened.find_elements(By.CSS_SELECTOR, ".pictures img")
    slider, label = opened.find_element(By.ID, "step"), opened.find_element(By.ID, "step-label")
    finished = [picture.get_attribute("src") for picture in pictures]
    assert len(pictures) == 3
    assert label.text.startswith("the finished image; difference ")
    slider.send_keys(Keys.HOME)
    assert label.text.startswith("step 1 of 3, diffusion timestep 666; difference ")
    assert slider.get_attribute("aria-valuetext") == label.text
    assert all(str(picture.get_attribute("alt")).endswith(label.text) for picture in pictures)
    assert all(one != picture.get_attribute("src") for one, picture in zip(finished, pictures, strict=True))
    slider.send_keys(Keys.END)
    assert [picture.get_attribute("src") for picture in pictures] == finished


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(opened: Chrome, width: int) -> None:
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    opened.execute_script("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    assert opened.execute_script(OVERFLOWING) == []


def test_light_and_dark_are_told_apart(opened: Chrome) -> None:
    colours = set()
    for value in ("light", "dark"):
        features = {"features": [{"name": "prefers-color-scheme", "value": value}]}
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        colours.add(opened.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
