# Who reaches the services past the portal, where firewalld or ufw runs: as infra/daemons.yaml says.
{%- from "infra/map.jinja" import infra, fleet, listen with context %}
{%- import_yaml "infra/daemons.yaml" as rows %}
{%- set server = infra.identity is not none %}
{%- set ports = {'peers': [], 'site': [], 'infra': []} %}
{%- for name, row in rows.items() if infra[row.switch] and listen[name] == '' %}
  {%- set reached = row.get('reached_by', 'peers') %}
  {%- if server or reached == 'infra' %}
    {%- do ports[reached].append(infra[row.port] ~ '/tcp') %}
  {%- endif %}
{%- endfor %}
{%- if server and infra.alertmanager_enabled and fleet.others %}
  {%- do ports.peers.append(infra.alertmanager_cluster_port ~ '/tcp') %}
  {%- do ports.peers.append(infra.alertmanager_cluster_port ~ '/udp') %}
{%- endif %}
{%- if infra.haproxy_enabled %}{% do ports.infra.append(infra.haproxy_exporter_port ~ '/tcp') %}{% endif %}
{%- set sources = {'peers': fleet.others, 'site': infra.node_firewall_intranet, 'infra': fleet.addresses} %}

include:
  - infra.pillar

{%- if infra.node_firewall_mode == 'zone' %}
{%- for who, wanted in ports.items() if wanted and sources[who] %}

infra-daemon-firewall-{{ who }}-open:
  infra_firewall.open:
    - ports: {{ wanted | tojson }}
    - sources: {{ sources[who] | tojson }}
    - require:
      - infra_pillar: infra-pillar-valid
{%- endfor %}
{%- endif %}
