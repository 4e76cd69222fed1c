"""Names among the ``terms`` of step records: what training writes, and what draws its curves reads."""

LOGPS = {"+": "logps/chosen", "-": "logps/rejected"}
"""Names of the summed log-probabilities of both answers under the clean image."""
LOSS, ACCURACY, MARGIN = "held-out/loss", "held-out/accuracy", "held-out/margin"
"""Measured on held-out records, at some of the steps."""
