# What the installed programs would refuse (flags, configurations, ports that are taken) is found
# here, before the first change; a single component has it checked by its own states only.
include:
  - infra.pillar

infra-preflight-passed:
  infra_preflight.passed:
    - order: 1
    - failhard: true
    - require:
      - infra_pillar: infra-pillar-valid
