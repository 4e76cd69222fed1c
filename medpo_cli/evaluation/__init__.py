"""Scoring: answers, reports, grounding, honest intervals, and the page that shows them."""
