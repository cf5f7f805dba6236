"""What shared machines do to training, done on purpose."""
