"""Every test that asks for `serve` runs on both frameworks."""

import pytest

from tests.sinks.servers import SERVERS, Serve


@pytest.fixture(params=list(SERVERS))
def serve(request: pytest.FixtureRequest) -> Serve:
    return SERVERS[request.param]
