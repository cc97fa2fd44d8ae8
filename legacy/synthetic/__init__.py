"""Made-up legacy files: clean ones for benchmarks and demos, dirty ones for rehearsals."""
