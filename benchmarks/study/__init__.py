"""Studies of methods and seeds on the embedded demo: data, arms, runs, tables."""
