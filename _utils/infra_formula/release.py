"""The digest of this release; written by `make generate`."""

DIGEST = "8725fa01b28ab24737fc303598ef412f6505853f14420cef007acc8cedb46116"
