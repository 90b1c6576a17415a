{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/ntp/settings.jinja" import ntp with context %}

include:
  - infra.ntp.package

infra-ntp-config-managed:
  infra_ntp.configured:
    - name: {{ infra.ntp_config | tojson }}
    - unit: {{ infra.ntp_unit | tojson }}
    - settings: {{ ntp | tojson }}
    - require:
      - pkg: infra-ntp-package-installed
