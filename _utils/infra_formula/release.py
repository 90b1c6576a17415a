"""The digest of this release; written by `make generate`."""

DIGEST = "dcd22883d90dffeb7cc8f787d7b6448886ea80f40bb0dac0fac15045aa497b42"
