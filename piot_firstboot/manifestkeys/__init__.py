"""The rows of the table of .piot.yaml, one module a domain."""
