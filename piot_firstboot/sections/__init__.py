"""The sections of piot.conf, one module a domain.

Each holds all that is known of its domain: the rows of its keys (`SECTIONS`, `SETTINGS`), the
dataclass that they become, the checks that need more than one value (`judge`), and how good
sections become values (`read`). A new key is a row and a field here, and a line in the render
module of the domain.
"""
