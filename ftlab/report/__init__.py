"""The decision view as text for people: terminal, HTML, Markdown, and the model card of an export.

Every surface reads one `ftlab.decide.view.DecisionView` and formats its numbers by `ftlab.report.format`; none
computes any.
"""
