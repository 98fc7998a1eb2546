"""What the commands find out, as data: the dataclasses behind every table and every JSON object."""
