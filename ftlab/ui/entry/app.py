"""The script that `ftlab ui` serves. In a folder of its own: Streamlit makes a menu of a `pages` folder beside it."""

from ftlab.ui.app import main

main()
