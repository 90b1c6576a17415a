# Who reaches the services past the portal: through firewalld or ufw where one of them runs, else
# confined by a table of nftables; as infra/daemons.yaml and infra/reach.yaml say.
{% from "infra/map.jinja" import infra, fleet, reach with context %}
{% set confined = [] %}
{% for row in reach if row.reached_by != 'all' %}{% do confined.append(row) %}{% endfor %}

include:
  - infra.pillar

infra-firewall-services-confined:
  infra_firewall.confined:
    - rows: {{ confined | tojson }}
    - nodes: {{ fleet.addresses | tojson }}
    - site: {{ infra.node_firewall_intranet | tojson }}
    - mode: {{ infra.infra_firewall | tojson }}
    - opens: {{ (infra.node_firewall_mode == 'zone') | tojson }}
    - failhard: {{ (infra.infra_firewall == 'required') | tojson }}
    - require:
      - infra_pillar: infra-pillar-valid
