"""What is shown as files to keep: panels as pictures, pages and tables, a trace as arrays."""

from retnet_viz.files.arrays import npz
from retnet_viz.files.images import PICTURES, ImageError, Painter, html_page
from retnet_viz.files.panels import PANELS, Panel
from retnet_viz.files.tables import csv_text
from retnet_viz.files.view import View

__all__ = [
    "PANELS",
    "PICTURES",
    "ImageError",
    "Painter",
    "Panel",
    "View",
    "csv_text",
    "html_page",
    "npz",
]
