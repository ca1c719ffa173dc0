"""Record what transformers makes of small folders that say more than a class: tests/data/tokenizer_switches.json.

    pip install transformers==5.24.0 sentencepiece protobuf
    python tools/record_tokenizer_switches.py tests/data/tokenizer_switches.json

The document says which files each folder has; `ids`, what each text is with special tokens, is written anew.
"""

import base64
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


def write(folder: Path, document: dict[str, Any], described: dict[str, Any]) -> None:
    """Write the files of a folder."""
    for name, key in described["files"].items():
        content = document["contents"][key]
        data = base64.b64decode(content) if name.endswith(".model") else json.dumps(content).encode()
        (folder / name).write_bytes(content.encode() if name.endswith(".txt") else data)
    for name in ("tokenizer_config", "special_tokens_map", "added_tokens"):
        if name in described:
            (folder / f"{name}.json").write_text(json.dumps(described[name]), "utf-8")


def main() -> None:
    """Ask transformers, and write what it says into the document."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoTokenizer  # noqa: PLC0415 - after the setting

    path = Path(sys.argv[1])
    document = json.loads(path.read_text("utf-8"))
    for described in document["folders"].values():
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), document, described)
            tokenizer = AutoTokenizer.from_pretrained(name)
            described["ids"] = [tokenizer.encode(text) for text in document["texts"]]
    entries = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in document["folders"].items())
    head = json.dumps({key: value for key, value in document.items() if key != "folders"}, ensure_ascii=False)
    path.write_text(f'{head[:-1]},\n"folders": {{\n{entries}\n}}}}\n', "utf-8")


if __name__ == "__main__":
    main()
