"""What is shown as files to keep: panels as pictures, pages and tables, a trace as arrays."""

from retnet_viz.ui.export.arrays import npz
from retnet_viz.ui.export.images import PICTURES, ImageError, Painter, html_page
from retnet_viz.ui.export.panel_exports import PANELS, Panel
from retnet_viz.ui.export.tables import csv_text
from retnet_viz.ui.export.view import View

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
