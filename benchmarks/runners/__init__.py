"""One file per tool: how it is started, and for medpo and the naive form the child itself."""
