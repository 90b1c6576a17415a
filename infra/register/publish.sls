# Publishes this minion's facts to the mine: early in the run, so that INFRA nodes that are applied at
# the same time find them there.
{%- from "infra/map.jinja" import infra, site, arguments with context %}

include:
  - infra.pillar
{%- if site.is_infra_node %}
  - infra.ca
{%- endif %}

infra-register-facts-published:
  infra_register.published:
    - name: infra
    - data: {{ arguments.facts | tojson }}
    - dns_names: {{ ([site.name] if infra.register_dns else []) | tojson }}
    - further: {{ infra.register | tojson }}
    - towards: {{ site.addresses | tojson }}
{%- if site.is_infra_node %}
    - ca: /etc/pki/ca.crt
    - require:
      - infra_cert: infra-ca-authority-present
{%- endif %}
