"""Every autoencoder under one set of hooks."""

__version__ = "0.1.0"
