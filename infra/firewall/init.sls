# Who has direct access to the services, past the portal: through firewalld or ufw where one of them
# runs, else confined by a table of nftables; as infra/components.yaml says.
{%- from "infra/map.jinja" import infra, site, arguments with context %}

include:
  - infra.pillar

infra-firewall-services-confined:
  infra_firewall.confined:
    - rows: {{ arguments.firewall.confined | tojson }}
    - nodes: {{ site.addresses | tojson }}
    - site: {{ infra.node_firewall_intranet | tojson }}
    - mode: {{ infra.infra_firewall | tojson }}
    - opens: {{ (infra.node_firewall_mode == 'zone') | tojson }}
    - failhard: {{ (infra.infra_firewall == 'required') | tojson }}
    - require:
      - infra_pillar: infra-pillar-valid
