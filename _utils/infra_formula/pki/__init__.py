"""Certificates: the site's CA, the leaf certificates, public ones by certbot."""
