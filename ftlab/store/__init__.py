"""Journals, the ledger that is built from them, and the snapshots of it that everything else reads.

Workers write journals (`journal`). The one process that runs a sweep reads them into DuckDB (`ingest`, `ledger`) and
publishes read-only copies (`snapshot`), which the app, the reports and the terminal query (`queries`). The ledger can
always be built again from the files (`rebuild`).
"""
