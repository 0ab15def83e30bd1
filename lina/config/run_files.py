"""Names of the small files of a run directory. Imports nothing: speaking by graphs starts with them."""

SPEC_FILE, TOKENIZER_FILE, SPEAKERS_FILE = "spec.yaml", "tokenizer.json", "speakers.json"
