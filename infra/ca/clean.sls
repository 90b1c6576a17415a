# Removal: this machine no longer trusts the CA, and nothing is renewed. The CA itself is data:
# losing it is for good.
{% from "infra/map.jinja" import infra with context %}
{% from "infra/clean.jinja" import removed with context %}
{% from "infra/ca/untrust.jinja" import untrusted with context %}

include:
  - infra.safeguard
{{ removed('ca') }}
{% if 'config' in infra.infra_remove %}
{{ untrusted('ca') }}
{% endif %}
