include:
  - infra.ca.authority
  - infra.ca.trust
  - infra.ca.certificates
  - infra.ca.renewal
