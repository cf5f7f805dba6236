"""One file per command that is not one of the trainer's."""
