"""The digest of this release; written by `make generate`."""

DIGEST = "3e0006d5aacc61b318da30f657bc894c5e3695e1181c11cab96515805160b44f"
