"""Pictures as Dagster metadata: a PNG inside Markdown, so that the UI shows it without a file server."""

import base64

import dagster as dg


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """Turn a PNG into metadata that the UI draws."""
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")
