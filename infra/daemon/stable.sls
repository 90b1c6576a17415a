# The last look of a run: what answered its health check still runs, and has not restarted since.
# Only a component's init.sls includes this. Salt 3007 and later let `require: sls: X` wait for what X
# includes, too: included by an SLS that others wait for, this would run before them.
include:
  - infra.pillar

infra-daemon-units-stable:
  infra_units.stable:
    - order: last
    - require:
      - infra_pillar: infra-pillar-valid
