"""The digest of this release; written by `make generate`."""

DIGEST = "c264ce7549fb9a0a73129604bbfd05e9294fadaba2d25d2837436c068f59979b"
