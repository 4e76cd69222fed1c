"""The page: one HTML file that needs nothing else, for results and for looking at cases."""

from medpo_cli.evaluation.page.browse import write_records_page
from medpo_cli.evaluation.page.model import Answer, CaseView, Chip, Outline, Page, Picture, Word
from medpo_cli.evaluation.page.render import write_page

__all__ = ["Answer", "CaseView", "Chip", "Outline", "Page", "Picture", "Word", "write_page", "write_records_page"]
