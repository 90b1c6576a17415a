# Who has direct access to the services, past the portal: through firewalld or ufw where one of them
# runs, else confined by a table of nftables; as infra/components.yaml says.
{% from "infra/map.jinja" import infra, site, arguments, yaml with context %}

include:
  - infra.pillar

infra-firewall-services-confined:
  infra_firewall.confined:
    - rows: {{ yaml(arguments.firewall.confined) }}
    - nodes: {{ yaml(site.addresses) }}
    - site: {{ yaml(infra.node_firewall_intranet) }}
    - mode: {{ yaml(infra.infra_firewall) }}
    - opens: {{ yaml(infra.node_firewall_mode == 'zone') }}
    - failhard: {{ yaml(infra.infra_firewall == 'required') }}
    - require:
      - infra_pillar: infra-pillar-valid
