# Certificates that the pillar's `certs` asks for: of components that this formula does not manage.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.ca.authority

{%- for name, given in infra.certs.items() %}
  {%- set cert = {'cn': name, 'san': ['localhost', '127.0.0.1'], 'org': 'pigsty', 'unit': 'pigsty',
                  'expire': infra.cert_validity} %}
  {%- do cert.update(given) %}

infra-ca-certificate-{{ name }}-issued:
  infra_cert.issued:
    - name: {{ name | tojson }}
    - given: {{ cert | tojson }}
    - cert: {{ given.get('crt') | tojson }}
    - key: {{ given.get('key') | tojson }}
    - require:
      - infra_cert: infra-ca-authority-present
{%- endfor %}
