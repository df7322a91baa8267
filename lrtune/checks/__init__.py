"""Judgements: from measurements to findings, one family a file; `catalogue.py` knows every code's text."""
