# Removal: certbot renews as it would without us. Certificates and accounts are data.
{% from "infra/clean.jinja" import removed with context %}

include:
  - infra.safeguard
{{ removed('certbot') }}
