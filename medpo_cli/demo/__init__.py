"""The embedded demo: a drawn and a real chest domain, their cases, and the models that answer about them."""
