"""The read-only Streamlit app: reads snapshots, never the ledger, and shows what the `DecisionView` says."""
