"""Results as a table, JSON, CSV or Markdown, a file a command: data to stdout, what else people read to stderr."""
