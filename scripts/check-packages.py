#!/usr/bin/env python3
"""Refuses packages of functions that would die at their first event on AWS: of another architecture than the function's, or of a
newer C library than provided.al2023 has (glibc 2.34).

    scripts/check-packages.py FOLDER arm64|x86_64

Each <FOLDER>/<function>/bootstrap.zip is looked at. Exit code 0 where all do, 1 where one does not, 2 where there are none.
"""

import pathlib
import re
import sys
import zipfile

MACHINES = {0xB7: "arm64", 0x3E: "x86_64"}
GLIBC_MAX = (2, 34)


def problem(package, architecture):
    try:
        with zipfile.ZipFile(package) as archive:
            binary = archive.read("bootstrap")
    except (KeyError, zipfile.BadZipFile) as error:
        return f"it is no zip with a file `bootstrap`: {error}"
    if binary[:4] != b"\x7fELF":
        return "its bootstrap is no program of Linux"
    machine = int.from_bytes(binary[18:20], "little")
    if MACHINES.get(machine) != architecture:
        return f"it is for {MACHINES.get(machine, f'machine {machine:#x}')}, and the function is {architecture}"
    versions = [tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBC_(\d+\.\d+)", binary)]
    newest = max(versions, default=(0, 0))
    if newest > GLIBC_MAX:
        needed, has = (".".join(map(str, version)) for version in (newest, GLIBC_MAX))
        return f"it needs glibc {needed}, and provided.al2023 has {has}: build it by cargo lambda"
    return None


def main():
    if len(sys.argv) != 3 or sys.argv[2] not in MACHINES.values():
        sys.exit(__doc__)
    packages = sorted(pathlib.Path(sys.argv[1]).glob("*/bootstrap.zip"))
    if not packages:
        print(f"check-packages: {sys.argv[1]} has no <function>/bootstrap.zip", file=sys.stderr)
        sys.exit(2)
    wrong = 0
    for package in packages:
        why = problem(package, sys.argv[2])
        if why:
            wrong += 1
            print(f"check-packages: {package}: {why}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
