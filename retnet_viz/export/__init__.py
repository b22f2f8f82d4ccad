"""What is shown as files to keep: panels as pictures, pages and tables, a trace as arrays."""

from retnet_viz.export.arrays import npz
from retnet_viz.export.images import ImageError, html_page, image, sheet
from retnet_viz.export.panels import PANELS, Panel
from retnet_viz.export.tables import csv_text
from retnet_viz.export.view import View

__all__ = [
    "PANELS",
    "ImageError",
    "Panel",
    "View",
    "csv_text",
    "html_page",
    "image",
    "npz",
    "sheet",
]
