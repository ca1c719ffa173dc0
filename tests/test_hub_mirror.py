"""The hub's protocol as somebody else has written it: olah as a mirror in front of the test hub.

Only where olah is installed (`pip install olah`): it brings some 25 packages that nothing else here needs.
"""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx2
import pytest
from hub_fixtures import SHARD, Case

pytestmark = pytest.mark.skipif(importlib.util.find_spec("olah") is None, reason="olah is not installed")


@pytest.fixture
def olah(case: Case) -> Iterator[str]:
    """A mirror of the test hub that is not the test hub; its address."""
    port = 18_900 + os.getpid() % 1000
    netloc = case.hub.endpoint.removeprefix("http://")
    settings = case.folder / "olah.toml"
    settings.write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{case.folder}/olah"\n'
        f'hf-scheme = "http"\nhf-netloc = "{netloc}"\nhf-lfs-netloc = "{netloc}"\n'
    )
    command = [sys.executable, "-m", "olah.server", "--config", str(settings)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                httpx2.get(address, timeout=1)
                break
            except httpx2.HTTPError:
                time.sleep(0.1)
        yield address
        process.terminate()


def test_a_mirror_of_another_make_serves_everything(case: Case, olah: str) -> None:
    source = case.source(endpoint=olah)
    assert source.read_file("config.json") == b'{"model_type": "llama"}'
    assert source.head(SHARD, case.start) == case.data[: case.start]
    assert case.row(7, source) == case.true_row(7)
    assert case.fetch(source) == case.table
    assert source.commit == case.commit
