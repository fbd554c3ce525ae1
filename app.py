"""The entry for `streamlit run app.py`; `ftlab ui` starts the same pages. Reads FTLAB_RESULTS, else ./results."""

from ftlab.ui.app import main

main()
