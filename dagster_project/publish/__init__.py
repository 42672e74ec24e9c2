"""What leaves the pipeline: the serving warehouse for BI tools and the exported tables for finance.

Writing files that others read, so that they never see half of one, belongs here. Deciding what a figure is
belongs to the marts; deciding whether it may be published, to `gates/`.
"""
