"""Writes testdata/arrow/rows.arrow: rows as `datasets` keeps them on disk, which is Arrow's stream format.

    python testdata/arrow.py
"""

from pathlib import Path

import pyarrow as pa

ROWS = [
    {"id": "q1", "question": "What melts in the sun?", "choices": {"text": ["Ice", "Stone"], "label": ["A", "B"]}, "n": 1, "is_easy": True},
    {"id": "q2", "question": "Wer wäscht ab?", "choices": {"text": [], "label": []}, "n": None, "is_easy": False},
]


def main():
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("question", pa.large_string()),
            ("choices", pa.struct([("text", pa.list_(pa.string())), ("label", pa.list_(pa.string()))])),
            ("n", pa.int64()),
            ("is_easy", pa.bool_()),
        ]
    )
    path = Path(__file__).parent / "arrow" / "rows.arrow"
    path.parent.mkdir(exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        # Two batches, as long tables have.
        for row in ROWS:
            writer.write_table(pa.Table.from_pylist([row], schema=schema))


if __name__ == "__main__":
    main()
