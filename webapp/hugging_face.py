"""Signing in with Hugging Face on a Space: who somebody is, they say; who may administrate, is said here.

It is OpenID Connect's flow with a code, a state and PKCE. A Space whose README has ``hf_oauth: true`` finds what it
needs in its environment.

Source: https://huggingface.co/docs/hub/spaces-oauth; OpenID Connect Core 1.0, section 3.1; RFC 7636; RFC 9700.
"""

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field

from core.errors import AccessError, SettingsError
from webapp.guard import ADMIN

BEGIN, CALLBACK = f"{ADMIN}hugging-face", f"{ADMIN}callback"
_VARIABLES = ("OPENID_PROVIDER_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "SPACE_HOST", "SPACE_AUTHOR_NAME")
_WITHIN_S = 10.0  # for each answer of theirs
_LOG = logging.getLogger(__name__)
_AWAY = "Hugging Face did not say who you are. Try again in a moment, or sign in by the password where there is one."

_Text = Annotated[str, Field(min_length=1, max_length=2_000)]


class Begun(NamedTuple):
    """A sign-in that has begun: where the browser goes on, and what it keeps until it comes back."""

    address: str
    state: str
    verifier: str


class _Provider(BaseModel):
    authorization_endpoint: _Text
    token_endpoint: _Text
    userinfo_endpoint: _Text


class _User(BaseModel):
    preferred_username: Annotated[str, Field(min_length=1, max_length=100)]


@dataclass(frozen=True)
class HuggingFace:
    """What a Space knows of the provider; `users` may administrate."""

    provider: str
    client_id: str
    client_secret: str = field(repr=False)
    callback: str
    users: frozenset[str]

    @classmethod
    def of_space(cls, users: str, environment: Mapping[str, str] = os.environ) -> "HuggingFace | None":
        """Return it for the owner of the Space and the users named, with commas; None where this is no such Space."""
        provider, client_id, secret, hosts, owner = (environment.get(name, "") for name in _VARIABLES)
        if not (provider and client_id and secret and hosts):
            if users:
                raise SettingsError(
                    "MUSICEVAL_ADMIN_USERS names users of Hugging Face, who sign in on a Space whose README.md has "
                    "hf_oauth: true. This is none: unset it, and set MUSICEVAL_ADMIN_PASSWORD."
                )
            return None
        named = {name.strip() for name in (owner, *users.split(","))} - {""}
        host = hosts.partition(",")[0].strip()  # with a domain of its own there are several
        return cls(provider.rstrip("/"), client_id, secret, f"https://{host}{CALLBACK}", frozenset(named))

    async def begin(self) -> Begun:
        """Begin a sign-in; `AccessError` where they cannot be reached."""
        with _telling():
            async with self._client() as client:
                endpoint = (await self._endpoints(client)).authorization_endpoint
                verifier = secrets.token_urlsafe(48)
                address, state = client.create_authorization_url(endpoint, code_verifier=verifier)
                return Begun(address, state, verifier)

    async def who(self, code: str, verifier: str) -> str:
        """Return the name of who came back with a code; `AccessError` where they do not tell it."""
        with _telling():
            async with self._client() as client:
                endpoints = await self._endpoints(client)
                await client.fetch_token(endpoints.token_endpoint, code=code, code_verifier=verifier)
                answer = await client.get(endpoints.userinfo_endpoint)
                answer.raise_for_status()
                return _User.model_validate_json(answer.content).preferred_username

    def _client(self) -> Any:
        from authlib.integrations.httpx_client import AsyncOAuth2Client  # late: only a Space needs it

        return AsyncOAuth2Client(
            self.client_id,
            self.client_secret,
            scope="openid profile",
            redirect_uri=self.callback,
            code_challenge_method="S256",
            timeout=_WITHIN_S,
        )

    async def _endpoints(self, client: Any) -> _Provider:
        address = f"{self.provider}/.well-known/openid-configuration"
        answer = await client.request("GET", address, withhold_token=True)
        answer.raise_for_status()
        return _Provider.model_validate_json(answer.content)


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """Say in a sentence that they are away, or answer what nobody understands."""
    import httpx2
    from authlib.common.errors import AuthlibBaseError

    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, AuthlibBaseError, ValueError, TypeError, AttributeError) as error:
        # The last two are authlib's, where a token is no object.
        _LOG.warning("Hugging Face could not be asked who signs in: %s", type(error).__name__)
        raise AccessError(_AWAY) from error
