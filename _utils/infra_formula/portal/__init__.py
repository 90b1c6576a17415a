"""The portal: entries, nginx files, home page, users."""
