"""Count embtool's functions that are passed on the way to an answer: `python tools/walk.py [WORD]`, `king` unless said.

The neighbours of one word are asked for by the library and on the command line, each in a new process with all modules
loaded and the cache filled. A function counts once, however often it is called; lambdas and comprehensions do not.
"""

import contextlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import FrameType

LIBRARY, COMMAND = "library", "command-line"


def walk(way: str, word: str) -> Counter[tuple[str, str]]:
    """Ask for a word's neighbours in one of the two ways; return the calls of each function by module and name."""
    embtool = import_module("embtool")
    for module in pkgutil.walk_packages(embtool.__path__, "embtool."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    home, calls = embtool.__path__[0], Counter[tuple[str, str]]()

    def passed(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        is_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
        if event == "call" and is_function and code.co_filename.startswith(home):
            calls[str(Path(code.co_filename).relative_to(home)), f"{code.co_qualname}:{code.co_firstlineno}"] += 1

    sys.setprofile(passed)
    try:
        if way == LIBRARY:
            embtool.open_model("mini").neighbors(word, k=10)
        else:
            import_module("embtool.cli").run(["neighbors", word, "-k", "10", "-m", "mini"])
    finally:
        sys.setprofile(None)
    return calls


def main() -> None:
    """Count both ways, each in a process of its own, or the one that is named."""
    word, *ways = sys.argv[1:] or ["king"]
    if not ways:
        import_module("embtool").open_model("mini").neighbors(word)
        for way in (LIBRARY, COMMAND):
            subprocess.run([sys.executable, __file__, word, way], check=True)
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        calls = walk(ways[0], word)
    modules = Counter(module for module, _ in calls)
    print(f"{ways[0]}: {len(calls)} functions in {len(modules)} modules")
    for module, count in modules.most_common():
        print(f"{count:5} {module}: {', '.join(name for file, name in calls if file == module)}")


if __name__ == "__main__":
    main()
