"""What the benchmarks run: random models, preference pairs, child processes, tables."""
