"""What maintainers use: records of runs and the tables in the documents."""
