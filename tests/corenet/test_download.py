"""Downloads from a server on this machine: whole, cut, resumed, and everything that is not the file."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from byteformer_convert.corenet.download import Whole, download
from byteformer_convert.corenet.published import PUBLISHED
from byteformer_convert.corenet.published_files import BASE_URL_VARIABLE, address, cache_folder, fetch
from byteformer_convert.errors import DownloadError, OutputError
from tests.file_server import FileServer, file_server

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        running.files["a.pt"] = CONTENT
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "a.pt"


def get(server: FileServer, target: Path) -> Whole:
    return download(f"{server.url}/a.pt", target)


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if not path.name.startswith("."))


def test_a_whole_file_arrives_with_its_sum(server: FileServer, target: Path) -> None:
    told = []
    whole = download(f"{server.url}/a.pt", target, progress=lambda done, total: told.append((done, total)))
    assert whole == Whole(target, f"{server.url}/a.pt", len(CONTENT), SHA256, reused=False)
    assert target.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert names(target) == ["a.pt", "a.pt.json"]
    assert json.loads((target.parent / "a.pt.json").read_text())["sha256"] == SHA256


def test_a_second_time_asks_the_server_nothing(server: FileServer, target: Path) -> None:
    get(server, target)
    assert get(server, target).reused
    assert len(server.requests) == 1


def test_a_file_that_was_changed_since_is_fetched_again(server: FileServer, target: Path) -> None:
    get(server, target)
    target.write_bytes(CONTENT[:-1] + b"!")
    assert not get(server, target).reused
    assert target.read_bytes() == CONTENT


def test_a_file_from_another_address_is_fetched_again(server: FileServer, target: Path) -> None:
    get(server, target)
    server.files["b.pt"] = b"PK other"
    assert download(f"{server.url}/b.pt", target).size == 8


def test_a_file_without_its_record_is_not_trusted(server: FileServer, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"half of something")
    assert get(server, target).sha256 == SHA256


def test_a_cut_connection_is_taken_up_where_it_broke(server: FileServer, target: Path) -> None:
    server.cut_after = [300_000, 200_000]
    assert get(server, target).sha256 == SHA256
    asked = [request.get("range") for request in server.requests]
    assert asked == [None, "bytes=300000-", "bytes=500000-"]
    assert server.requests[1]["if-range"] == '"one"'


def test_a_download_that_gets_nowhere_stops_and_says_how_to_go_on(server: FileServer, target: Path) -> None:
    server.cut_after = [300_000, 0]
    with pytest.raises(DownloadError, match="was cut after 300,000 bytes") as caught:
        get(server, target)
    assert caught.value.exit_code == 3
    assert "goes on from there" in str(caught.value.hint)
    assert names(target) == ["a.pt.part", "a.pt.part.json"]
    assert get(server, target).sha256 == SHA256
    assert server.requests[-1]["range"] == "bytes=300000-"
    assert names(target) == ["a.pt", "a.pt.json"]


def test_a_part_of_a_file_that_changed_meanwhile_is_thrown_away(server: FileServer, target: Path) -> None:
    server.cut_after = [300_000, 0]
    with pytest.raises(DownloadError):
        get(server, target)
    server.etag, server.files["a.pt"] = '"two"', CONTENT[::-1]
    get(server, target)
    assert target.read_bytes() == CONTENT[::-1]


def test_a_file_of_another_length_under_the_same_etag_is_not_gone_on_with(server: FileServer, target: Path) -> None:
    server.cut_after = [300_000, 0]
    with pytest.raises(DownloadError):
        get(server, target)
    server.files["a.pt"] = b"PK" + CONTENT
    get(server, target)
    assert target.read_bytes() == b"PK" + CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_etag_a_part_is_not_gone_on_with(server: FileServer, target: Path, etag: str | None) -> None:
    server.etag, server.cut_after = etag, [300_000]
    assert get(server, target).sha256 == SHA256
    assert [request.get("range") for request in server.requests] == [None, None]


def test_a_server_without_ranges_sends_all_of_it_again(server: FileServer, target: Path) -> None:
    server.ranges, server.cut_after = False, [300_000]
    assert get(server, target).sha256 == SHA256


def test_a_part_longer_than_the_file_is_thrown_away(server: FileServer, target: Path) -> None:
    server.cut_after = [300_000, 0]
    with pytest.raises(DownloadError):
        get(server, target)
    (target.parent / "a.pt.part").write_bytes(bytes(2 * len(CONTENT)))
    assert get(server, target).sha256 == SHA256


def test_a_part_that_was_whole_already_is_not_fetched_again(server: FileServer, target: Path) -> None:
    server.cut_after = [300_000, 0]
    with pytest.raises(DownloadError):
        get(server, target)
    (target.parent / "a.pt.part").write_bytes(CONTENT)
    before = len(server.requests)
    assert get(server, target).sha256 == SHA256
    assert len(server.requests) == before


def test_a_busy_server_does_not_cost_the_part(server: FileServer, target: Path) -> None:
    server.cut_after = [300_000, 0]
    with pytest.raises(DownloadError):
        get(server, target)
    server.status = 503
    with pytest.raises(DownloadError, match="answered 503"):
        get(server, target)
    assert (target.parent / "a.pt.part").stat().st_size == 300_000


def test_fewer_bytes_than_announced_are_a_cut(server: FileServer, target: Path) -> None:
    server.announced, server.etag = len(CONTENT) + 5, None
    with pytest.raises(DownloadError, match="was cut after"):
        get(server, target)
    assert not target.exists()


@pytest.mark.parametrize(
    ("status", "words"), [(404, "there is no such file"), (403, "may not be fetched"), (500, "answered 500")]
)
def test_a_refusal_says_what_the_server_said(server: FileServer, target: Path, status: int, words: str) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=words) as caught:
        get(server, target)
    assert str(status) in caught.value.message
    assert "--weights FILE" in str(caught.value.hint)
    assert names(target) == []


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_not_weights(server: FileServer, target: Path, content_type: str) -> None:
    server.files["a.pt"], server.content_type = b"\n<!doctype html><title>Log in</title>", content_type
    with pytest.raises(DownloadError, match="a web page came instead of weights"):
        get(server, target)
    assert not target.exists()
    server.files["a.pt"], server.content_type = CONTENT, "application/octet-stream"
    assert get(server, target).sha256 == SHA256


def test_a_redirect_that_leaves_https_is_refused(target: Path) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.scheme == "http":
            return httpx2.Response(200, content=CONTENT)
        return httpx2.Response(302, headers={"Location": "http://other.test/a.pt"})

    with pytest.raises(DownloadError, match=r"leads to http://other\.test/a\.pt, which is not encrypted"):
        download("https://published.test/a.pt", target, transport=httpx2.MockTransport(answer))
    assert not target.exists()


def test_no_network_is_one_message_with_the_next_step(target: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening, so that a connection is refused
        with pytest.raises(DownloadError, match="cannot be reached") as caught:
            download(f"http://127.0.0.1:{taken.getsockname()[1]}/a.pt", target)
    assert "HTTPS_PROXY" in str(caught.value.hint)
    assert caught.value.exit_code == 3


def test_another_size_or_sum_than_the_published_one_is_refused(server: FileServer, target: Path) -> None:
    with pytest.raises(DownloadError, match="is not the published file"):
        download(f"{server.url}/a.pt", target, size=len(CONTENT) + 1)
    with pytest.raises(DownloadError, match=f"sha256 {SHA256}"):
        download(f"{server.url}/a.pt", target, sha256="0" * 64)
    assert names(target) == []
    assert download(f"{server.url}/a.pt", target, size=len(CONTENT), sha256=SHA256).size == len(CONTENT)


def test_a_cache_that_cannot_be_written_is_an_output_error(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        get(server, tmp_path / "file" / "a.pt")
    assert "--cache-dir" in str(caught.value.hint)


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "byteformer-convert"


def test_a_published_checkpoint_comes_from_the_address_in_the_environment(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = PUBLISHED["imagenet_tiff"]
    assert address(entry) == entry.url
    monkeypatch.setenv(BASE_URL_VARIABLE, server.url + "/")
    server.files["imagenet_tiff.pt"] = CONTENT
    assert fetch(entry, tmp_path).path == tmp_path / "imagenet_tiff.pt"
    with pytest.raises(DownloadError, match="not the published file"):
        fetch(replace(entry, sha256="0" * 64), tmp_path)
