"""PioT: from a text file on the boot partition to a running app."""

__version__ = "0.1.0"
