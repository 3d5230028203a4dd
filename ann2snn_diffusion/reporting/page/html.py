"""The page itself: a template of the package, filled."""

from __future__ import annotations

import math

from jinja2 import Environment, PackageLoader, StrictUndefined

from ann2snn_diffusion.common.versions import version_of
from ann2snn_diffusion.evaluation.cost_tables import DEFAULT
from ann2snn_diffusion.evaluation.figures import ANN, SNN
from ann2snn_diffusion.reporting.costs_table import ENERGY_NOTE
from ann2snn_diffusion.reporting.page import charts, tables, words
from ann2snn_diffusion.reporting.page.pictures import data_uri
from ann2snn_diffusion.reporting.page.report import Report
from ann2snn_diffusion.reporting.page.slides import slides

MOST_PIXELS = 256
"""Of a side of a sample."""


def html_of(report: Report) -> str:
    """A report as one HTML page, which needs no other file and no network."""
    pages = Environment(
        loader=PackageLoader("ann2snn_diffusion.reporting.page", "template"), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    pages.filters["setting"] = words.setting_text
    strata = () if report.fidelity is None else report.fidelity.strata
    told = strata and all(math.isfinite(stratum.epsilon_error) for stratum in strata)
    distribution = None if report.evaluation is None else report.evaluation.distribution
    return pages.get_template("page.html").render(
        report=report,
        cards=words.cards(report),
        samples=_samples(report),
        slides=slides(report.denoising),
        errors=charts.error_chart(strata) if told else None,
        energies=charts.energy_chart(report.costs),
        spikes=charts.spikes_chart(report.costs),
        energy_table=tables.energy_table(report),
        layers_table=tables.layers_table(report),
        sites_table=tables.sites_table(report),
        quality_table=None if distribution is None else tables.quality_table(distribution),
        interval=tables.interval,
        steps=words.steps(report.provenance),
        note=ENERGY_NOTE,
        cost_table=DEFAULT.name,
        version=version_of("ann2snn-diffusion"),
    )


def _samples(report: Report) -> list[dict[str, str]]:
    """Data URIs by network, of each image."""
    networks = [title for title in (ANN, SNN) if title in report.samples]
    images = zip(*(report.samples[title] for title in networks), strict=True)
    return [
        {title: data_uri(image, MOST_PIXELS) for title, image in zip(networks, pair, strict=True)} for pair in images
    ]
