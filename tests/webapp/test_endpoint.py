"""The endpoint ``/score``, as `gradio_client` sees it."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from core.scorer import Scorer
from tests.bad_inputs import BAD_INPUTS, BadInput
from tests.clips import pluck, write_clip
from webapp.score import SNIPPET

PROMPT = "A calm guitar line"
# gradio_client refuses these before it sends anything.
REFUSED_BY_CLIENT = {"missing file", "folder", "200 MB"}


@pytest.fixture(scope="module", autouse=True)
def _server_survives(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After all that this file sends, the server still scores."""
    yield
    clip = write_clip(tmp_path_factory.mktemp("after") / "clip.wav")
    assert client.predict(clip=handle_file(clip), prompt=PROMPT, api_name="/score")["windows"]


def test_result_is_the_scorers(client: Client, scorer: Scorer, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.flac", pluck(23.0))
    result = client.predict(clip=handle_file(clip), prompt=PROMPT, api_name="/score")
    assert result == scorer.score(clip, PROMPT).to_json()
    assert len(result["windows"]) == 3
    json.dumps(result, allow_nan=False)


def test_there_are_no_other_endpoints(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)
    assert list(endpoints["named_endpoints"]) == ["/score", "/score_batch"]
    assert endpoints["unnamed_endpoints"] == {}
    parameters = endpoints["named_endpoints"]["/score"]["parameters"]
    assert [parameter["parameter_name"] for parameter in parameters] == ["clip", "prompt"]


def test_the_snippet_runs_as_it_stands(
    address: str, scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "clip.wav")
    monkeypatch.chdir(tmp_path)
    variables: dict[str, object] = {}
    with redirect_stdout(io.StringIO()) as printed:
        exec(SNIPPET.format(address=address), variables)
    expected = scorer.score(tmp_path / "clip.wav", "A calm piano ballad in a minor key")
    last = printed.getvalue().splitlines()[-1]
    assert last == f"{expected['musical_impression']} {expected['textual_alignment']}"


@pytest.mark.parametrize("case", BAD_INPUTS, ids=lambda case: case.name)
def test_bad_input(case: BadInput, client: Client, tmp_path: Path) -> None:
    path, prompt = case.build(tmp_path)
    if case.error is None:
        result = client.predict(clip=handle_file(path), prompt=prompt, api_name="/score")
        assert 1 <= result["musical_impression"] <= 5
        assert case.warning in {None, *(warning["code"] for warning in result["warnings"])}
        return
    with pytest.raises((ValueError, OSError)) as caught:
        client.predict(clip=handle_file(path), prompt=prompt, api_name="/score")
    message = str(caught.value)
    if case.name in REFUSED_BY_CLIENT:
        assert path.name in message
    else:
        assert case.error in message
        assert "Traceback" not in message
        assert "\n" not in message


@pytest.mark.parametrize("prompt", [None, 5, ["piano"], {"path": "piano"}], ids=str)
def test_a_prompt_that_is_not_text_is_no_crash(client: Client, clip_path: Path, prompt: object) -> None:
    result = client.predict(clip=handle_file(clip_path), prompt=prompt, api_name="/score")
    assert 1 <= result["musical_impression"] <= 5


@pytest.mark.parametrize("clip", ["clip.wav", 5, [], {"path": 5}, {"url": "clip.wav"}], ids=str)
def test_a_clip_that_is_no_upload_is_refused_in_words(client: Client, clip: object) -> None:
    with pytest.raises(ValueError, match=r"^This call does not fit\. Give the clip as an uploaded file"):
        client.predict(clip=clip, prompt=PROMPT, api_name="/score")


def test_a_clip_given_as_an_address_is_not_fetched(client: Client) -> None:
    clip = {"path": "https://example.org/clip.wav", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(ValueError, match=r"addresses are not fetched\. Download it and upload the file\.$"):
        client.predict(clip=clip, prompt=PROMPT, api_name="/score")


def test_no_clip_is_refused_in_words(client: Client) -> None:
    with pytest.raises(ValueError, match=r"^There is no clip\."):
        client.predict(clip=None, prompt=PROMPT, api_name="/score")


def test_an_unexpected_error_is_logged_and_told_plainly(
    client: Client, clip_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a detail of the server")

    monkeypatch.setattr(scorer, "score", fail)
    with pytest.raises(ValueError, match=r"^Something went wrong on the server") as caught:
        client.predict(clip=handle_file(clip_path), prompt=PROMPT, api_name="/score")
    assert "detail" not in str(caught.value)
    assert "a detail of the server" in caplog.text
