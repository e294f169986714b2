"""Background responses: resumed from any event, after a broken connection, and in another process."""

import aiohttp
import msgspec
import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler

import streamkit as sk
from streamkit.cli.provider import Provider, serve
from streamkit.relay import Job, MemoryLog, Relay
from streamkit.sources import BackgroundResponse, background_response

TEXT = "one two three four five six seven eight nine ten"
BODY = {"model": "gpt-4o", "input": "?"}
PROVIDER = Provider(
    answers={"?": TEXT},
    first_token_seconds=0,
    token_seconds=0,
    seed=1,
    clock=lambda: 7,
    count=lambda text: len(text.split()),
)
EXTRACT = sk.Extract()


def text(events: list[sk.Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, sk.TextDelta))


async def frames(source: BackgroundResponse) -> list[sk.sse.ServerSentEvent]:
    return [
        event
        async for event in source | sk.ops.Map[sk.sse.ServerSentEvent, sk.sse.ServerSentEvent](lambda event: event)
        if isinstance(event, sk.sse.ServerSentEvent)
    ]


@pytest.mark.asyncio
async def test_a_response_is_read_whole_and_from_each_of_its_events() -> None:
    async with serve(PROVIDER) as root:
        url = f"{root}/v1/responses"
        source = background_response(url, json=BODY)
        everything = await frames(source)
        assert text([event async for event in [*everything] | sk.Extract()]) == TEXT
        numbers = [msgspec.json.decode(event.payload)["sequence_number"] for event in everything]
        assert numbers == list(range(len(everything)))
        assert source.cursor is not None
        id = source.cursor.id
        assert source.cursor.after == numbers[-1]
        for number in numbers[:-1]:
            assert (
                await frames(background_response(url, cursor={"id": id, "after": number})) == everything[number + 1 :]
            )


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["cut=1300", "cut=999:clean", "reset=1500"])
async def test_a_connection_that_breaks_is_made_again_behind_the_last_event(fault: str) -> None:
    async with serve(PROVIDER) as root:
        source = background_response(f"{root}/v1/responses", json=BODY, headers={"x-demo-fault": fault}, wait=0)
        events = await (source | sk.Extract()).collect()
        assert text(events) == TEXT
        assert events[-1] == sk.StreamEnd("completed", saw_done=True)


@pytest.mark.asyncio
async def test_a_connection_that_brings_nothing_is_made_again_only_so_often() -> None:
    async with serve(PROVIDER) as root:
        url, known = f"{root}/v1/responses", background_response(f"{root}/v1/responses", json=BODY)
        await frames(known)
        assert known.cursor is not None
        cursor = {"id": known.cursor.id, "after": 3}
        source = background_response(url, cursor=cursor, headers={"x-demo-fault": "cut=10"}, wait=0, reconnects=2)
        with pytest.raises(sk.errors.Disconnected):
            await frames(source)
        source = background_response(url, cursor={"id": "resp_unknown", "after": 3})
        with pytest.raises(sk.StatusError) as found:
            await frames(source)
        assert found.value.status == 404


@pytest.mark.asyncio
@pytest.mark.parametrize("lasting", [False, True], ids=["until it succeeds", "at most `reconnects` times"])
async def test_a_reconnection_that_fails_is_repeated(lasting: bool) -> None:
    retrieved: list[str] = []

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "GET":
            retrieved.append(request.path_qs)
            # aiohttp's client itself repeats a GET once.
            if lasting or len(retrieved) <= 4:
                assert request.transport
                request.transport.close()
        elif request.method == "POST":
            request = request.clone(headers={**request.headers, "x-demo-fault": "cut=1300"})
        return await handler(request)

    app = PROVIDER.app()
    app.middlewares.append(refuse)
    async with TestServer(app, handler_cancellation=True) as server:
        url = str(server.make_url("/v1/responses"))
        source = background_response(url, json=BODY, wait=0)
        if lasting:
            with pytest.raises(sk.errors.Disconnected):
                await frames(source)
        else:
            assert text(await (source | sk.Extract()).collect()) == TEXT
    assert len(retrieved) >= 5


@pytest.mark.parametrize("cursor", [{}, {"id": 1, "after": 2}, [], "x"])
def test_a_cursor_of_something_else_is_rejected(cursor: object) -> None:
    with pytest.raises(sk.PipelineError, match="expected that of a background response"):
        background_response("http://127.0.0.1/v1/responses", cursor=cursor)
    with pytest.raises(sk.PipelineError, match="expected json"):
        background_response("http://127.0.0.1/v1/responses")


@pytest.mark.asyncio
async def test_openai_s_client_reads_retrieves_and_continues_a_response() -> None:
    async with serve(PROVIDER) as root, openai.AsyncOpenAI(base_url=f"{root}/v1", api_key="any") as client:
        stream = await client.responses.create(model="gpt-4o", input="?", stream=True, background=True)
        events = [event async for event in stream]
        id = events[0].response.id  # type: ignore[union-attr]
        assert (await client.responses.retrieve(id)).output_text == TEXT
        rest = await client.responses.retrieve(id, stream=True, starting_after=5)
        assert [event.sequence_number async for event in rest] == list(range(6, len(events)))
        assert (await client.responses.create(model="gpt-4o", input="?")).output_text == TEXT
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve("resp_unknown")


@pytest.mark.asyncio
async def test_a_published_response_continues_in_another_process_and_a_stop_cancels_it() -> None:
    slow = Provider(
        answers={"?": TEXT}, first_token_seconds=0, token_seconds=0.02, count=lambda text: len(text.split())
    )
    pipeline = sk.Extract() | sk.Moderate(sk.Rule("secret", phrases=("six seven", "two three four x")))
    log = MemoryLog()

    def build(job: Job) -> sk.Stream[sk.Event]:
        source = background_response(job.request["url"], json=BODY, cursor=job.cursor)
        return pipeline.open(source, checkpoint=job.checkpoint)

    async with serve(slow) as root:
        request = {"url": f"{root}/v1/responses"}
        async with Relay(log, flush=0) as here:
            await here.publish("k", lambda: build(Job("k", request)), request=request, checkpoints=True)
            async with here.follow("k") | sk.ops.Map[sk.Event, sk.Event](lambda event: event) as events:
                while not isinstance(await anext(events), sk.TextDelta):
                    pass
        async with Relay(log, flush=0) as there:
            with_worker = sk.hops.until(lambda: there.take_over(build, poll=0.01))
            async with with_worker:
                seen = await (there.follow("k") | sk.ops.Map[sk.Event, sk.Event](lambda event: event)).collect()
            assert text(seen) == TEXT.replace("six seven", "[redacted]")
            assert seen[-1] == sk.StreamEnd("completed", saw_done=True)

            publication = await there.publish("l", lambda: build(Job("l", request)))
            async with there.follow("l") | sk.ops.Map[sk.Event, sk.Event](lambda event: event) as events:
                while not isinstance(await anext(events), sk.TextDelta):
                    pass
            await there.stop("l")
            assert await publication.wait() == sk.StreamEnd("cancelled")
            source = publication.source
            assert isinstance(source, BackgroundResponse)
            async with aiohttp.request("GET", f"{root}/v1/responses/{source.id}") as response:
                assert (await response.json())["status"] == "cancelled"
