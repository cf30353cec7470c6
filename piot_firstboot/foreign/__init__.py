"""First-boot files of other tools, read so that a piot.conf can say the same.

One module a format, each with `carry`: text → what a piot.conf can say of it (entries), and what
it cannot (left). `formats` tells which is which, `compose` writes the piot.conf.
"""
