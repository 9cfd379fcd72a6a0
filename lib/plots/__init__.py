"""Figures: tables in, drawn on axes; each saved with its data and a text alternative; one style.

style            colours, sizes, saving, and what figures have in common; figures of measures
run_plots        crossed designs, failed runs
validity_plots   validity and consistency of measures
bound_plots      stability bounds, beside real runs
"""

from lib.plots.style import (  # noqa: F401 (the room's own names)
    COLUMN,
    INK,
    LOOKS,
    PAGE,
    PALE,
    STATUS,
    agreement_heatmap,
    dissent_bars,
    interval_dots,
    layer_curves,
    letters,
    literal,
    run_dots,
    run_heatmap,
    save,
    seeds_strip,
    status_legend,
    use_style,
)
