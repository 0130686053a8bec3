"""What is public about this machine: CPU, cores, caches, versions. Never its name.

Reads Linux' /proc and /sys; what they do not tell is left out.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np

#: First flag found -> microarchitecture, newest first. Clouds hide the model's number, not these.
#: Generations with equal flags have one name: Emerald Rapids goes as Sapphire Rapids.
INTEL = {
    "avx10_2": "diamond-rapids",
    "amx_complex": "granite-rapids",
    "amx_fp16": "granite-rapids",
    "amx_tile": "sapphire-rapids",
    "avx512_vp2intersect": "tiger-lake",
    "avx512_vbmi2": "ice-lake",
    "avx512_vnni": "cascade-lake",
    "avx512f": "skylake-x",
    "avx_vnni": "alder-lake",
    "clflushopt": "skylake",
    "adx": "broadwell",
    "avx2": "haswell",
}
AMD = {
    "avx512_vp2intersect": "zen5",
    "avx512f": "zen4",
    "vaes": "zen3",
    "clwb": "zen2",
    "avx2": "zen",
}


def cpuinfo() -> dict[str, str]:
    """Return the first processor's fields of /proc/cpuinfo."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    fields = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in fields}


def cores() -> list[int]:
    """Return one CPU of each physical core that this process may use, in order."""
    found: dict[str, int] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings = path.read_text().strip()
        except OSError:
            siblings = str(cpu)
        found.setdefault(siblings, cpu)
    return list(found.values())


def caches() -> dict[str, str]:
    """Return the sizes of the first CPU's data caches, such as {"L1": "48K"}."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((folder / n).read_text().strip() for n in ("level", "type", "size"))
        if kind != "Instruction":
            sizes[f"L{level}"] = size
    return sizes


def microarchitecture(info: dict[str, str]) -> str:
    """Return what the CPU's flags tell of its family, or ""."""
    tables = {"GenuineIntel": INTEL, "AuthenticAMD": AMD}
    flags = set(info.get("flags", "").split())
    table = tables.get(info.get("vendor_id", ""), {})
    return next((name for flag, name in table.items() if flag in flags), "")


def slug(info: dict[str, str], n_cores: int) -> str:
    """Return a file name for the machine: brand, microarchitecture, cores."""
    model = info.get("model name", "").lower()
    brand = next((b for b in ("xeon", "epyc", "ryzen", "core") if b in model), "")
    if not brand:
        brand = re.sub(r"[^a-z0-9]+", "-", model or platform.machine().lower()).strip("-")
    return "-".join(part for part in (brand, microarchitecture(info), f"{n_cores}c") if part)


def describe() -> dict[str, Any]:
    """Return the machine's facts."""
    info, n_cores = cpuinfo(), len(cores())
    return {
        "name": slug(info, n_cores),
        "cpu": info.get("model name", platform.machine()),
        "microarchitecture": microarchitecture(info),
        "cores": n_cores,
        "caches": caches(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def numpy_facts() -> dict[str, str]:
    """Return the versions of NumPy and its BLAS, and the CPU that OpenBLAS took this one for."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    facts = {"numpy": np.__version__, "blas": f"{blas['name']} {blas['version']}"}
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return facts
    kernels = [p["architecture"] for p in threadpool_info() if p.get("internal_api") == "openblas"]
    return {**facts, **({"blas_kernels": kernels[0]} if kernels else {})}
