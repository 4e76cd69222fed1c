"""Clinical text: facts and their comparison, closed answers, minimal edits and their proof, spans to tokens."""
