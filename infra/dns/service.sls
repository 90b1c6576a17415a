# dnsmasq reads its configuration only when it starts, so a change of it restarts it.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/dns/settings.jinja" import dns with context %}

include:
  - infra.dns.config

infra-dns-service-current:
  infra_service.current:
    - name: dnsmasq
    - files:
      - /etc/systemd/system/dnsmasq.service
      - /etc/dnsmasq.conf
    - require:
      - file: infra-dns-unit-managed
      - infra_dns: infra-dns-config-managed
      - infra_dns: infra-dns-records-managed

infra-dns-service-running:
  service.running:
    - name: dnsmasq
    - enable: true
    - require:
      - infra_service: infra-dns-service-current

{%- for address in dns.listen %}

{{ ('infra-dns-server-' ~ address ~ '-answering') | tojson }}:
  infra_dns.answering:
    - name: {{ address | tojson }}
    - lines: {{ infra.dns_records[:20] | tojson }}
    - admin_ip: {{ infra.admin_ip | tojson }}
    - port: {{ infra.dns_port | tojson }}
    - require:
      - service: infra-dns-service-running
{%- endfor %}
