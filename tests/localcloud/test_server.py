from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from alchemy.errors import UsageError
from alchemy.localcloud import serve
from tests.localcloud.driver import Cloud

SERVER = """
import sys
from pathlib import Path
from alchemy.localcloud import serve
serve(Path(sys.argv[1]), 0, lambda url: print(url, flush=True))
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_cloud_on_a_port_is_the_cloud_in_process(tmp_path: Path, stop: signal.Signals) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "core"), str(root)])}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVER, str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        with httpx.Client(base_url=url, headers={"authorization": "Bearer local"}, trust_env=False) as client:
            account = client.get("/user").json()["result"]["id"]
            bucket = f"/accounts/{account}/r2/buckets"
            client.post(bucket, json={"name": "assets"}).raise_for_status()
            client.put(f"{bucket}/assets/objects/a%2Fb/c", content=b"v" * 100_000).raise_for_status()
            assert client.head(f"{bucket}/assets/objects/a%2Fb/c").headers["content-length"] == "100000"
    finally:
        process.send_signal(stop)
        output, errors = process.communicate(timeout=10)
    assert (output, errors, process.returncode) == ("", "", 0)
    cloud = Cloud(tmp_path)
    assert cloud.account == account
    assert cloud.send("GET", "r2/buckets/assets/objects/a/b%2Fc").content == b"v" * 100_000


def test_a_port_in_use_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 is in use") as caught:
            serve(tmp_path, port)
    assert "--port" in caught.value.hint


def test_importing_the_package_loads_no_framework(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, alchemy.localcloud as cloud; cloud.account_id(pathlib.Path(sys.argv[1]));"
        " print(sorted({'starlette', 'uvicorn', 'sqlite3', 'asyncio', 'httpx', 'orjson'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root / "core")}
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout == "[]\n"
