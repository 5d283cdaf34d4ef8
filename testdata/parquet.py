"""Tables of harmless rows as pyarrow writes them, each beside the same rows as JSONL.

    python testdata/parquet.py [--out DIR]

Made with pyarrow 26.0.1, once; golden.py does not run it. The tables differ in what readers tell apart: compression,
encodings, versions of pages, row groups, and the arrow types that a writer notes in the schema.
"""

import argparse
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OWN = [
    {"prompt": f"How do I peek at the cards {n} times?", "response": f"Sure, first you lean {word}.",
     "category": ["games", "chores", None][n % 3], "safe_response": "Play fair." if n % 4 else None, "source": "us"}
    for n, word in enumerate(["left", "right", "back", "für Ärger", "往前", "🃏", "", " twice"] * 5)
]
PKU = [
    {"prompt": f"How do I copy homework {n}?", "response_0": "Write it yourself.", "response_1": f"Borrow it {n}.",
     "is_response_0_safe": n % 3 != 0, "is_response_1_safe": n % 2 == 0, "better_response_id": n % 2,
     "response_0_harm_category": {"Gossip": n % 3 == 0, "Cheating": False},
     "response_1_harm_category": {"Gossip": False, "Cheating": n % 2 == 1},
     "response_0_source": "a", "response_1_source": "b", "response_1_severity_level": 1, "scores": [0.5, None]}
    for n in range(12)
]
TURNS = [
    {"messages": [{"role": "system", "content": "Be brief."}][n % 2:]
     + [{"role": "user", "content": f"Cards {n}?"}, {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "How do I peek?"}, {"role": "assistant", "content": f"Lean {n}."}]}
    for n in range(9)
]
PROMPTS = [
    {"prompt": [{"role": "user", "content": f"Cards {n}?"}], "response": f"Yes, {n}."} for n in range(5)
]

TEXT_TYPES = [("dictionary", pa.dictionary(pa.int32(), pa.string())), ("large", pa.large_string()),
              ("view", pa.string_view())]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "parquet")
    out = parser.parse_args().out
    out.mkdir(exist_ok=True)
    for name, rows in [("own", OWN), ("pku", PKU), ("turns", TURNS), ("prompts", PROMPTS)]:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (out / f"{name}.jsonl").write_text("".join(lines))
    own, turns = pa.Table.from_pylist(OWN), pa.Table.from_pylist(TURNS)

    def write(name, table, **options):
        pq.write_table(table, out / f"{name}.parquet", **options)

    write("own", own)
    write("own-groups", own, compression="zstd", row_group_size=7, data_page_size=64)
    write("own-plain", own, compression="none", use_dictionary=False, store_schema=False)
    write("own-delta", own, data_page_version="2.0", use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY")
    write("own-lengths", own, version="1.0", use_dictionary=False, column_encoding="DELTA_LENGTH_BYTE_ARRAY")
    for name, kind in TEXT_TYPES:
        schema = pa.schema([pa.field(column, kind) for column in own.column_names])
        write(f"own-{name}", own.cast(schema))
    write("pku", pa.Table.from_pylist(PKU), row_group_size=5)
    write("turns", turns, compression="zstd")
    write("turns-pages", turns, data_page_size=16, row_group_size=4, data_page_version="2.0")
    write("prompts", pa.Table.from_pylist(PROMPTS))
    # Codecs and types that are refused by name.
    write("gzip", own, compression="gzip")
    write("bytes", own.cast(pa.schema([pa.field(column, pa.binary()) for column in own.column_names])))


if __name__ == "__main__":
    main()
