"""The output: schema, shards, run record and report."""
