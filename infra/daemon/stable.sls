# The last look of a run: what answered its health check still runs, and has not restarted since.
include:
  - infra.pillar

infra-daemon-units-stable:
  infra_units.stable:
    - order: last
    - require:
      - infra_pillar: infra-pillar-valid
