"""A figure of plotly, its legend and its tables."""
