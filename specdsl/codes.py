"""Every diagnostic code, once. `specdsl explain CODE` prints the entry.

E01 syntax, E02 names, E03 types and shapes, E04 units, sets and numbers, E05 files and data,
E06 networks, E07 properties and queries, E08 settings and options, E09 not supported yet,
E10 VNN-LIB, W warnings.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """`title` in a few words; `explanation`: what it means and what to do, in plain sentences."""

    title: str
    explanation: str


CODES: dict[str, Code] = {
    # --- E01 syntax ---
    "E0101": Code("syntax error", "The text does not continue in any way the grammar allows."),
    # --- E02 names ---
    # --- E03 types and shapes ---
    # --- E04 units, sets and numbers ---
    # --- E05 files and data ---
    "E0501": Code("file cannot be read", "The file is missing or may not be read by this user."),
    "E0502": Code("not a regular file", "Folders, pipes and devices are refused."),
    "E0503": Code("file too large", "The file, or what it expands to, is over the size limit."),
    "E0504": Code("damaged gzip data", "The name ends in .gz but the content does not decompress."),
    "E0505": Code("not UTF-8 text", "Spec and VNN-LIB files are UTF-8; save the file as such."),
    # --- E06 networks ---
    # --- E07 properties and queries ---
    # --- E08 settings and options ---
    # --- E09 not supported yet ---
    "E0901": Code("not supported yet", "The language has this; this version cannot answer it yet."),
    # --- E10 VNN-LIB ---
    # --- warnings ---
}
