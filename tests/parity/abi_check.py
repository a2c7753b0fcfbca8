# SPDX-License-Identifier: MIT
"""Compares the structs of moshi_core.py with those that a C compiler makes of lib/moshi/core.h."""

import ctypes
import os
import subprocess
import tempfile

import moshi_core

STRUCTS = {
    "MoshiError": moshi_core.Error,
    "MoshiEngineConfig": moshi_core.EngineConfig,
    "MoshiEngineInfo": moshi_core.EngineInfo,
    "MoshiEngineLimits": moshi_core.EngineLimits,
    "MoshiEngineStats": moshi_core.EngineStats,
    "MoshiSessionConfig": moshi_core.SessionConfig,
    "MoshiJob": moshi_core.Job,
    "MoshiLmInfo": moshi_core.LmInfo,
    "MoshiCondition": moshi_core.Condition,
    "MoshiStepHooks": moshi_core.StepHooks,
    "MoshiPiece": moshi_core.Piece,
    "MoshiCoreApi": moshi_core.Api,
}


def compiled_layout(include):
    """{struct: {field or 'sizeof': offset}} as the compiler sees it."""
    lines = ["#include <stdio.h>", '#include "moshi/core.h"', "int main(void) {"]
    for name, struct in STRUCTS.items():
        lines.append(f'printf("{name} sizeof %zu\\n", sizeof({name}));')
        for field, *_ in struct._fields_:
            lines.append(f'printf("{name} {field} %zu\\n", offsetof({name}, {field}));')
    lines.append("return 0; }")
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "layout.c"), os.path.join(folder, "layout")
        with open(source, "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
        subprocess.run(["cc", "-std=c11", "-I", include, source, "-o", program], check=True, timeout=120)
        text = subprocess.run([program], check=True, capture_output=True, text=True, timeout=60).stdout
    layout = {}
    for line in text.splitlines():
        name, field, value = line.split()
        layout.setdefault(name, {})[field] = int(value)
    return layout


def differences(include):
    wrong = []
    for name, fields in compiled_layout(include).items():
        struct = STRUCTS[name]
        for field, offset in fields.items():
            ours = ctypes.sizeof(struct) if field == "sizeof" else getattr(struct, field).offset
            if ours != offset and not (field == "sizeof" and ours < offset):  # structs grow at the end
                wrong.append(f"{name}.{field}: {ours} here, {offset} in C")
    return wrong
