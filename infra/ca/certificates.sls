# Certificates that the pillar's `certs` asks for: of components that this formula does not manage.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.ca.authority

{#- What is no name or no mapping is refused by infra.pillar. #}
{%- for name, given in (infra.certs if infra.certs is mapping else {}).items()
      if given is mapping and name is match('[A-Za-z0-9._-]+\\Z') %}

{{ ('infra-ca-certificate-' ~ name ~ '-issued') | tojson }}:
  infra_cert.issued:
    - name: {{ name | tojson }}
    - given: {{ dict({'expire': infra.cert_validity}, **given) | tojson }}
    - cert: {{ given.get('crt') | tojson }}
    - key: {{ given.get('key') | tojson }}
    - require:
      - infra_cert: infra-ca-authority-present
{%- endfor %}
