#!/usr/bin/env python3
"""Print all that lies on this machine's disk, one line of JSON for each path.

Each has its kind, mode and owner, and of a file the checksum of its content, of a link the target.
What the kernel or a boot makes anew is left out.
"""

import grp
import hashlib
import json
import os
import pwd
import stat
import sys

LEFT_OUT = {"/proc", "/sys", "/dev", "/run", "/tmp", "/srv/salt"}


def name(ask, number):
    """Return the name of an account; after a removal only its number is left."""
    try:
        return ask(number)[0]
    except KeyError:
        return str(number)


def look(path):
    st = os.lstat(path)
    what = {"owner": f"{name(pwd.getpwuid, st.st_uid)}:{name(grp.getgrgid, st.st_gid)}"}
    if stat.S_ISLNK(st.st_mode):
        return {"kind": "link", "to": os.readlink(path)}
    what["mode"] = f"{stat.S_IMODE(st.st_mode):04o}"
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {**what, "kind": "file", "sha256": digest}
    return {**what, "kind": "directory" if stat.S_ISDIR(st.st_mode) else "special"}


for folder, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in LEFT_OUT]
    for entry in [*folders, *files]:
        path = os.path.join(folder, entry)
        try:
            json.dump([path, look(path)], sys.stdout)
        except FileNotFoundError:
            continue
        print()
