"""From a corpus to token shards and batches."""
