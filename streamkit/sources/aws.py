"""Requests to Amazon Web Services, signed by botocore: the extra `bedrock` of streamkit-llm.

    async with sk.http.post(url, json=body, sign=SigV4()) | pipeline as events: ...

botocore is imported when the first request is signed. A Bedrock API key needs no signature: send it as the header
`Authorization: Bearer …`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from streamkit.core.lazy import missing_extra
from streamkit.core.options import NamedOptions
from streamkit.errors import PipelineError
from streamkit.sources.request import RequestToSign

_HOST = re.compile(r"[a-z0-9-]+?\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)")
_SIGNED = ("authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256")


@dataclass
class SigV4(NamedOptions):
    """Signature version 4, for `http.post(…, sign=SigV4())`.

    Credentials: `access_key` and `secret_key`, plus `session_token` for temporary credentials. Without them, botocore searches
    the environment, profiles (`profile`), roles and single sign-on, as the AWS SDKs do, and refreshes the credentials. The
    region is `region`, else the region in the host name, else the configured one. `service` is the service name in the
    signature. If credentials, a region or botocore are missing, the request raises `PipelineError`.
    """

    service: str = "bedrock"
    region: str | None = None
    profile: str | None = field(default=None, kw_only=True)
    access_key: str | None = field(default=None, kw_only=True, repr=False)
    secret_key: str | None = field(default=None, kw_only=True, repr=False)
    session_token: str | None = field(default=None, kw_only=True, repr=False)
    _session: Any = field(default=None, init=False, repr=False, compare=False)
    _credentials: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.access_key is None) != (self.secret_key is None):
            raise PipelineError("SigV4: expected both of access_key and secret_key, or none, found one")

    def __call__(self, request: RequestToSign) -> Mapping[str, str]:
        """Return the signature headers for the request."""
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
        except ImportError as error:
            raise PipelineError(missing_extra("SigV4", "botocore", "bedrock")) from error
        region = self.region or region_of(request.url) or self._configured("region")
        if not region:
            raise PipelineError(
                "SigV4: expected a region: SigV4(region=…), AWS_DEFAULT_REGION or one in the host's name"
            )
        signed = AWSRequest(request.method, request.url, headers=dict(request.headers), data=request.body)
        auth: Any = SigV4Auth(self._found(), self.service, region)
        auth.add_auth(signed)
        return {name: value for name, value in signed.headers.items() if name.lower() in _SIGNED}

    def _found(self) -> Any:
        if self._credentials is None:
            self._credentials = self._given() if self.access_key else self._own_session().get_credentials()
        if self._credentials is None:
            raise PipelineError("SigV4: expected credentials where the AWS SDKs look for them, found none")
        return self._credentials.get_frozen_credentials()

    def _given(self) -> Any:
        from botocore.credentials import Credentials

        return Credentials(self.access_key, self.secret_key, self.session_token)

    def _configured(self, name: str) -> str | None:
        found: str | None = self._own_session().get_config_variable(name)
        return found

    def _own_session(self) -> Any:
        if self._session is None:
            from botocore.session import Session

            self._session = Session(profile=self.profile)
        return self._session


def region_of(url: str) -> str | None:
    """Return the region in the host name, such as that of `bedrock-runtime.eu-west-1.amazonaws.com`; `None` without one."""
    found = _HOST.fullmatch(urlsplit(url).hostname or "")
    return found["region"] if found else None
