"""What transformers' models are and do, by observation: built tiny, saved, run.

`python -m families record` writes the recording that embtool reads; `compare` holds embtool against the models.
Both need torch and transformers.
"""
