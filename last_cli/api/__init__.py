"""The Python API: the commands as functions, every option spelled out. `last_cli` itself shows them."""
