"""What BlindRelay costs, measured beside what people use instead (docs/benchmarks.md).

    python -m bench run [--quick]     every comparison, to JSON and Markdown
    python -m bench compare OLD NEW   two runs, figure by figure
    python -m bench own CONNECTION    your own relay and bridge

Nothing here ships, and nothing that ships imports it.
"""
