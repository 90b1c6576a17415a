# The way back: this machine publishes nothing, and an INFRA node knows of no other.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.sync

infra-register-facts-withdrawn:
  infra_register.withdrawn:
    - name: infra

infra-register-targets-removed:
  infra_files.absent:
    - name: register-targets
    - root: {{ infra.infra_data | tojson }}

infra-register-names-removed:
  infra_files.absent:
    - name: register-names
    - root: /etc/hosts.d

infra-register-inventory-removed:
  file.absent:
    - name: /var/lib/infra/register.json
