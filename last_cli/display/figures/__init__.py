"""Figures, a file a command. The room of matplotlib, which is imported when something is drawn."""
