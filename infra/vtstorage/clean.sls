# Removal; see infra/clean.jinja.
{% from "infra/clean.jinja" import removed with context %}

include:
  - infra.safeguard
{{ removed('vtstorage') }}
