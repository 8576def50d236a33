"""Pictures as SVG: the timeline of a stage, the latencies of a soak."""
