# The newest packages of the components that run here. `infra` restarts what they changed, afterwards.
{% from "infra/map.jinja" import arguments, yaml with context %}

include:
  - infra.pillar

infra-upgrade-packages-newest:
  pkg.latest:
    - pkgs: {{ yaml(arguments.daemons.packages) }}
    - refresh: true
    - install_recommends: false
    - require:
      - infra_pillar: infra-pillar-valid
