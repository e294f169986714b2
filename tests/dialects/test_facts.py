"""Observed behavior of providers: for each fact a small body as received, and the events read from it.

| fact | test |
|---|---|
| OpenAI: every field of a chunk; `include_usage` has a last chunk without choices | `every field of a chunk` |
| OpenAI: custom tools | `a custom tool` |
| OpenAI: a legacy function call | `a legacy function call` |
| Azure: empty first chunk, `prompt_filter_results`, filter results next to the text | `Azure` |
| Azure: `prompt_annotations`, the former name | `Azure, older` |
| Azure: asynchronous filter, `object: ""`, offsets, a choice without a delta | `Azure, asynchronous filter` |
| Azure: a filter that did not run | `Azure, a filter that failed` |
| OpenRouter: comments during processing | `OpenRouter, comments`, `test_openrouters_comments_can_be_seen` |
| OpenRouter: an error together with a choice that finishes with `error` | `OpenRouter, error beside a choice` |
| OpenRouter: an error without choices | `OpenRouter, error without choices` |
| OpenRouter: reasoning details, images | `OpenRouter, details and images` |
| OpenRouter: the signature of reasoning follows its text | `OpenRouter, signed reasoning` |
| OpenRouter: the id of the generation is in a header | `test_openrouters_generation_id_is_in_the_headers` |
| vLLM: `reasoning`, formerly `reasoning_content` | `vLLM, reasoning`, `vLLM, reasoning before` |
| vLLM: usage in every chunk (`continuous_usage_stats`) | `vLLM, continuous usage` |
| vLLM: two entries with one index in a chunk | `vLLM, two entries with one index` |
| Groq: whole tool calls, one per chunk; usage in `x_groq` | `Groq` |
| Ollama by adapters: calls before the end, all with index 0 | `Ollama by an adapter` |
| Ollama's own API: calls in a line before `done`, with the finish reason `stop` | `Ollama` |
| Moonshot: usage in the choice | `Moonshot` |
| Mistral: calls without an index, or all with 0 | `Mistral, no index`, `Mistral, index 0` |
| Gemini: cumulative `usageMetadata` in each chunk | `Gemini` |
| Vertex AI: arguments are streamed value by value; a call without a name ends them | `Vertex AI, streamed arguments` |
| Gemini's Interactions: arguments begin with the placeholder `{}` | `Interactions` |
| DashScope: every chunk has the whole text; a finish reason `"null"` | `DashScope` |
| DashScope with `incremental_output` | `DashScope, incremental` |
| Hugging Face: the last token is special and arrives with the whole text | `Text Generation Inference` |
| Cloudflare: padding, usage before `[DONE]`, no finish reason | `Workers AI` |
| Anthropic: all kinds of deltas, pings, cumulative output tokens, no `[DONE]` | `Anthropic` |
| Anthropic: an error after HTTP 200 | `Anthropic, error` |
| Responses: typed events with sequence numbers | `Responses` |
| llama.cpp: items of Responses are identified only by `item_id` | `Responses, llama.cpp` |
| Responses: `starting_after` resumes a background stream | `test_a_background_stream_resumes_after_its_last_sequence_number` |
"""

import asyncio
import json
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import streamkit as sk
from tests.dialects.streams import cuts

PIPELINE = sk.sse.Lines() | sk.Parse() | sk.Extract()


def sse(*payloads: str) -> bytes:
    return "".join(f"data: {payload}\n\n" for payload in payloads).encode()


def named(*payloads: str) -> bytes:
    return "".join(f"event: {json.loads(payload)['type']}\ndata: {payload}\n\n" for payload in payloads).encode()


class Fact(NamedTuple):
    body: bytes
    events: list[sk.Event]
    end: sk.StreamEnd
    code: object = None  # of the error that is raised


WHO = sk.events.ResponseStart("c-1", "chat.completion", 7, "m", "fp", "default")
HEAD = '"id":"c-1","object":"chat.completion.chunk","created":7,"model":"m","system_fingerprint":"fp","service_tier":"default"'
STOPPED = sk.StreamEnd("completed", saw_done=True)
CALLED = sk.StreamEnd("tool_calls", saw_done=True)
CALLS = '{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}'
STOP = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
HATE = {"hate": {"filtered": False, "severity": "safe"}}
PROMPT = [{"prompt_index": 0, "content_filter_results": HATE}]


def usage(prompt: int, completion: int, total: int, **more: Any) -> sk.Usage:
    details = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}
    return sk.Usage(prompt, completion, total, details)


USED = '{"prompt_tokens":2,"completion_tokens":%d,"total_tokens":%d}'

FACTS = {
    "every field of a chunk": Fact(
        sse(
            f'{{{HEAD},"choices":[{{"index":0,"delta":{{"role":"assistant","content":"","refusal":null}},"logprobs":null,'
            '"finish_reason":null}],"usage":null,"obfuscation":"x9Q"}',
            f'{{{HEAD},"choices":[{{"index":0,"delta":{{"content":"Hi"}},"logprobs":{{"content":[{{"token":"Hi","logprob":-0.1}}],'
            '"refusal":null},"finish_reason":null}],"usage":null,"obfuscation":"aB"}',
            f'{{{HEAD},"choices":[{{"index":0,"delta":{{"refusal":"No"}},"logprobs":null,"finish_reason":null}}],"usage":null}}',
            f'{{{HEAD},"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"id":"call_1","type":"function","function":'
            '{"name":"f","arguments":""}}]},"logprobs":null,"finish_reason":null}],"usage":null}',
            f'{{{HEAD},"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"function":{{"arguments":"{{}}"}}}}]}},'
            '"logprobs":null,"finish_reason":null}],"usage":null}',
            f'{{{HEAD},"choices":[{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"tool_calls"}}],"usage":null}}',
            f'{{{HEAD},"choices":[],"moderation":{{"output":{{"results":[{{"flagged":false}}]}}}},"usage":null}}',
            f'{{{HEAD},"choices":[],"usage":{USED % (3, 5)}}}',
            "[DONE]",
        ),
        [
            WHO,
            sk.events.RoleDelta("assistant"),
            sk.TextDelta("Hi"),
            sk.events.Logprobs({"content": [{"token": "Hi", "logprob": -0.1}], "refusal": None}),
            sk.RefusalDelta("No"),
            sk.ToolCallDelta(0, "call_1", "f", type="function"),
            sk.ToolCallDelta(0, arguments="{}"),
            sk.Finish("tool_calls"),
            sk.events.ProviderNotice("moderation", {"output": {"results": [{"flagged": False}]}}),
            usage(2, 3, 5),
        ],
        CALLED,
    ),
    "a custom tool": Fact(
        sse(
            '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"custom","custom":{"name":"py","input":""}}]}}]}',
            '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"custom":{"input":"print(1)"}}]}}]}',
            CALLS,
            "[DONE]",
        ),
        [
            sk.ToolCallDelta(0, "call_1", "py", type="custom"),
            sk.ToolCallDelta(0, arguments="print(1)"),
            sk.Finish("tool_calls"),
        ],
        CALLED,
    ),
    "a legacy function call": Fact(
        sse(
            '{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"function_call":{"name":"f","arguments":""}}}]}',
            '{"choices":[{"index":0,"delta":{"function_call":{"arguments":"{}"}}}]}',
            '{"choices":[{"index":0,"delta":{},"finish_reason":"function_call"}]}',
            "[DONE]",
        ),
        [
            sk.events.RoleDelta("assistant"),
            sk.ToolCallDelta(0, name="f", type="function_call"),
            sk.ToolCallDelta(0, arguments="{}", type="function_call"),
            sk.Finish("function_call"),
        ],
        CALLED,
    ),
    "Azure": Fact(
        sse(
            '{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":@}'.replace(
                "@", json.dumps(PROMPT)
            ),
            f'{{{HEAD},"choices":[{{"content_filter_results":{{}},"delta":{{"content":"","role":"assistant"}},"index":0}}]}}',
            f'{{{HEAD},"choices":[{{"content_filter_results":{json.dumps(HATE)},"delta":{{"content":"Hi"}},"index":0}}]}}',
            f'{{{HEAD},"choices":[{{"content_filter_results":{{}},"delta":{{}},"finish_reason":"stop","index":0}}]}}',
            "[DONE]",
        ),
        [
            sk.events.ProviderNotice("prompt_filter", PROMPT),
            WHO,
            sk.events.RoleDelta("assistant"),
            sk.TextDelta("Hi"),
            sk.events.ProviderNotice("content_filter", HATE, 0),
            sk.Finish("stop"),
        ],
        STOPPED,
    ),
    "Azure, older": Fact(
        sse(
            '{"id":"","created":0,"prompt_annotations":@,"choices":[]}'.replace("@", json.dumps(PROMPT)),
            STOP,
            "[DONE]",
        ),
        [sk.events.ProviderNotice("prompt_filter", PROMPT), sk.Finish("stop")],
        STOPPED,
    ),
    "Azure, asynchronous filter": Fact(
        sse(
            f'{{{HEAD},"choices":[{{"index":0,"delta":{{"content":"Hi"}},"finish_reason":null}}]}}',
            '{"id":"","object":"","created":0,"model":"","choices":[{"index":0,"finish_reason":null,"content_filter_results":@,'
            '"content_filter_offsets":{"check_offset":44,"start_offset":44,"end_offset":198}}]}'.replace(
                "@", json.dumps(HATE)
            ),
            '{"id":"","object":"","created":0,"model":"","choices":[{"index":0,"finish_reason":"content_filter",'
            '"content_filter_results":{"hate":{"filtered":true}},"content_filter_offsets":{"check_offset":198}}]}',
            "[DONE]",
        ),
        [
            WHO,
            sk.TextDelta("Hi"),
            sk.events.ProviderNotice("content_filter", HATE, 0),
            sk.events.ProviderNotice(
                "content_filter_offsets", {"check_offset": 44, "start_offset": 44, "end_offset": 198}, 0
            ),
            sk.events.ProviderNotice("content_filter", {"hate": {"filtered": True}}, 0),
            sk.events.ProviderNotice("content_filter_offsets", {"check_offset": 198}, 0),
            sk.Finish("content_filter"),
        ],
        sk.StreamEnd("content_filter", saw_done=True),
    ),
    "Azure, a filter that failed": Fact(
        sse(
            '{"choices":[{"index":0,"delta":{},"finish_reason":"stop","content_filter_result":{"error":{"code":"content_filter_error"}}}]}',
            "[DONE]",
        ),
        [
            sk.events.ProviderNotice("content_filter", {"error": {"code": "content_filter_error"}}, 0),
            sk.Finish("stop"),
        ],
        STOPPED,
    ),
    "OpenRouter, comments": Fact(
        b": OPENROUTER PROCESSING\n\n" * 3
        + sse('{"choices":[{"index":0,"delta":{"content":"Hi"}}]}')
        + b": OPENROUTER PROCESSING\n\n"
        + sse(STOP, "[DONE]"),
        [sk.TextDelta("Hi"), sk.Finish("stop")],
        STOPPED,
    ),
    "OpenRouter, error beside a choice": Fact(
        sse(
            '{"choices":[{"index":0,"delta":{"content":"Hi"}}]}',
            '{"error":{"code":502,"message":"Disconnected"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}',
        ),
        [sk.TextDelta("Hi")],
        sk.StreamEnd("provider_error", open_choices=(0,)),
        502,
    ),
    "OpenRouter, error without choices": Fact(
        sse('{"id":"gen-1","choices":[],"error":{"code":429,"message":"Rate limited"}}'),
        [],
        sk.StreamEnd("provider_error"),
        429,
    ),
    "OpenRouter, details and images": Fact(
        sse(
            '{"choices":[{"index":0,"delta":{"reasoning":"Hm","reasoning_details":[{"type":"reasoning.text","text":"Hm"}]}}]}',
            '{"choices":[{"index":0,"delta":{"images":[{"type":"image_url","image_url":{"url":"data:,"}}]}}]}',
            STOP,
            "[DONE]",
        ),
        [
            sk.ReasoningDelta("Hm"),
            sk.events.ProviderNotice("image_url", {"type": "image_url", "image_url": {"url": "data:,"}}, 0),
            sk.Finish("stop"),
        ],
        STOPPED,
    ),
    "OpenRouter, signed reasoning": Fact(
        sse(
            '{"choices":[{"index":0,"delta":{"reasoning":"Hm","reasoning_details":[{"type":"reasoning.text","text":"Hm","index":0}]}}]}',
            '{"choices":[{"index":0,"delta":{"content":"","reasoning":null,"reasoning_details":[{"type":"reasoning.text",'
            '"signature":"c2ln","index":0}]}}]}',
            STOP,
            "[DONE]",
        ),
        [sk.ReasoningDelta("Hm"), sk.Finish("stop")],
        STOPPED,
    ),
    "Moonshot": Fact(
        sse(
            '{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}',
            f'{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop","usage":{USED % (3, 5)}}}]}}',
            "[DONE]",
        ),
        [sk.TextDelta("Hi"), usage(2, 3, 5), sk.Finish("stop")],
        STOPPED,
    ),
    "vLLM, reasoning": Fact(
        sse('{"choices":[{"index":0,"delta":{"reasoning":"Hm"}}]}', STOP, "[DONE]"),
        [sk.ReasoningDelta("Hm"), sk.Finish("stop")],
        STOPPED,
    ),
    "vLLM, reasoning before": Fact(
        sse('{"choices":[{"index":0,"delta":{"reasoning_content":"Hm","content":null}}]}', STOP, "[DONE]"),
        [sk.ReasoningDelta("Hm"), sk.Finish("stop")],
        STOPPED,
    ),
    "vLLM, continuous usage": Fact(
        sse(
            f'{{"choices":[{{"index":0,"delta":{{"content":"a"}}}}],"usage":{USED % (1, 3)}}}',
            f'{{"choices":[{{"index":0,"delta":{{"content":"b"}},"finish_reason":"stop"}}],"usage":{USED % (2, 4)}}}',
            f'{{"choices":[],"usage":{USED % (2, 4)}}}',
            "[DONE]",
        ),
        [sk.TextDelta("a"), usage(2, 1, 3), sk.TextDelta("b"), sk.Finish("stop"), usage(2, 2, 4), usage(2, 2, 4)],
        STOPPED,
    ),
    "vLLM, two entries with one index": Fact(
        sse(
            '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f"}},'
            '{"index":0,"function":{"arguments":"{}"}}]}}]}',
            CALLS,
            "[DONE]",
        ),
        [
            sk.ToolCallDelta(0, "a", "f", type="function"),
            sk.ToolCallDelta(0, arguments="{}"),
            sk.Finish("tool_calls"),
        ],
        CALLED,
    ),
    "Groq": Fact(
        sse(
            '{"choices":[{"index":0,"delta":{"role":"assistant"}}],"x_groq":{"id":"req_1"}}',
            '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{\\"n\\":1}"}}]}}]}',
            '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]}}]}',
            f'{{"choices":[{{"index":0,"finish_reason":"tool_calls"}}],"x_groq":{{"id":"req_1","usage":{USED % (3, 5)}}}}}',
            "[DONE]",
        ),
        [
            sk.events.RoleDelta("assistant"),
            sk.ToolCallDelta(0, "a", "f", '{"n":1}', type="function"),
            sk.ToolCallDelta(1, "b", "g", type="function"),
            sk.ToolCallDelta(1, arguments="{}"),
            sk.Finish("tool_calls"),
            usage(2, 3, 5),
        ],
        CALLED,
    ),
    "Ollama by an adapter": Fact(
        sse(
            '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},'
            '{"index":0,"id":"b","type":"function","function":{"name":"f","arguments":"[]"}}]}}]}',
            '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"g","arguments":"1"}}]}}]}',
            STOP,
            "[DONE]",
        ),
        [
            sk.ToolCallDelta(0, "a", "f", type="function"),
            sk.ToolCallDelta(1, "b", "f", "[]", type="function"),
            sk.ToolCallDelta(2, "c", "g", "1", type="function"),
            sk.ToolCallDelta(0, arguments="{}"),
            sk.Finish("stop"),
        ],
        CALLED,
    ),
    "Ollama": Fact(
        b'{"model":"m","created_at":"x","message":{"role":"assistant","content":"","tool_calls":[{"function":{"index":0,"name":"f",'
        b'"arguments":{"n":1}}},{"function":{"index":0,"name":"g","arguments":{}}}]},"done":false}\n'
        b'{"model":"m","created_at":"x","message":{"role":"assistant","content":""},"done_reason":"stop","done":true,"eval_count":3}\n',
        [
            sk.events.ResponseStart(model="m"),
            sk.events.RoleDelta("assistant"),
            sk.ToolCallDelta(0, None, "f", '{"n":1}', type="function"),
            sk.ToolCallDelta(1, None, "g", "{}", type="function"),
            sk.Usage(None, 3, details={"eval_count": 3}),
            sk.Finish("stop"),
        ],
        CALLED,
    ),
    "Mistral, no index": Fact(
        sse(
            '{"choices":[{"index":0,"delta":{"content":"","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}},'
            '{"id":"b","function":{"name":"g","arguments":"[]"}}]},"finish_reason":"tool_calls"}]}',
            "[DONE]",
        ),
        [sk.ToolCallDelta(0, "a", "f", "{}"), sk.ToolCallDelta(1, "b", "g", "[]"), sk.Finish("tool_calls")],
        CALLED,
    ),
    "Mistral, index 0": Fact(
        sse(
            '{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"},"index":0}]}}]}',
            '{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"}"},"index":0}]}}]}',
            '{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"b","function":{"name":"g","arguments":"["},"index":0}]}}]}',
            '{"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"arguments":"]"},"index":0}]}}]}',
            '{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":" "},"index":0}]}}]}',
            CALLS,
            "[DONE]",
        ),
        [
            sk.ToolCallDelta(0, "a", "f", "{"),
            sk.ToolCallDelta(0, "a", "f", "}"),
            sk.ToolCallDelta(1, "b", "g", "["),
            sk.ToolCallDelta(1, arguments="]"),
            sk.ToolCallDelta(0, "a", "f", " "),
            sk.Finish("tool_calls"),
        ],
        CALLED,
    ),
    "Gemini": Fact(
        sse(
            '{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":1,"totalTokenCount":5}}',
            '{"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":2,"totalTokenCount":6}}',
        ),
        [
            sk.TextDelta("a"),
            sk.Usage(4, 1, 5, {"promptTokenCount": 4, "candidatesTokenCount": 1, "totalTokenCount": 5}),
            sk.TextDelta("b"),
            sk.Finish("STOP"),
            sk.Usage(4, 2, 6, {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6}),
        ],
        sk.StreamEnd("completed"),
    ),
    "Vertex AI, streamed arguments": Fact(
        sse(
            '{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","willContinue":true}}]}}]}',
            '{"candidates":[{"content":{"parts":[{"functionCall":{"partialArgs":[{"jsonPath":"$.city","stringValue":"Zü",'
            '"willContinue":true}],"willContinue":true}}]}}]}',
            '{"candidates":[{"content":{"parts":[{"functionCall":{"partialArgs":[{"jsonPath":"$.city","stringValue":"rich"},'
            '{"jsonPath":"$.days","numberValue":2}],"willContinue":true}}]}}]}',
            '{"candidates":[{"content":{"parts":[{"functionCall":{}}]},"finishReason":"STOP"}]}',
        ),
        [
            sk.ToolCallDelta(0, name="f"),
            sk.ToolCallDelta(0, arguments='{"city":"Zü'),
            sk.ToolCallDelta(0, arguments="rich"),
            sk.ToolCallDelta(0, arguments='","days":2'),
            sk.ToolCallDelta(0, arguments="}"),
            sk.Finish("STOP"),
        ],
        sk.StreamEnd("tool_calls"),
    ),
    "Interactions": Fact(
        sse(
            '{"event_type":"interaction.created","interaction":{"id":"v1_a","object":"interaction","model":"m","status":"in_progress"}}',
            '{"event_type":"step.start","index":0,"step":{"type":"thought"}}',
            '{"event_type":"step.delta","index":0,"delta":{"type":"thought_summary","content":{"type":"text","text":"Hm"}}}',
            '{"event_type":"step.delta","index":0,"delta":{"type":"thought_signature","signature":"c2ln"}}',
            '{"event_type":"step.stop","index":0}',
            '{"event_type":"step.start","index":1,"step":{"type":"model_output"}}',
            '{"event_type":"step.delta","index":1,"delta":{"type":"text","text":"Hi"}}',
            '{"event_type":"step.stop","index":1}',
            '{"event_type":"step.start","index":2,"step":{"type":"function_call","id":"fc_1","name":"f","arguments":{}}}',
            '{"event_type":"step.delta","index":2,"delta":{"type":"arguments_delta","arguments":"{\\"n\\":1}"}}',
            '{"event_type":"step.stop","index":2}',
            '{"event_type":"interaction.completed","interaction":{"id":"v1_a","status":"requires_action",'
            '"usage":{"total_input_tokens":2,"total_output_tokens":3,"total_tokens":5}}}',
        ),
        [
            sk.events.ResponseStart("v1_a", "interaction", model="m"),
            sk.ReasoningDelta("Hm"),
            sk.TextDelta("Hi"),
            sk.ToolCallDelta(0, "fc_1", "f", type="function"),
            sk.ToolCallDelta(0, arguments='{"n":1}'),
            sk.Usage(2, 3, 5, {"total_input_tokens": 2, "total_output_tokens": 3, "total_tokens": 5}),
            sk.Finish("requires_action"),
        ],
        CALLED,
    ),
    "DashScope": Fact(
        sse(
            '{"output":{"choices":[{"message":{"content":"Blue","role":"assistant"},"finish_reason":"null"}]},'
            '"usage":{"input_tokens":2,"output_tokens":1},"request_id":"r"}',
            '{"output":{"choices":[{"message":{"content":"Blue sky","role":"assistant"},"finish_reason":"null"}]},'
            '"usage":{"input_tokens":2,"output_tokens":2},"request_id":"r"}',
            '{"output":{"choices":[{"message":{"content":"Blue sky.","role":"assistant"},"finish_reason":"stop"}]},'
            '"usage":{"input_tokens":2,"output_tokens":3},"request_id":"r"}',
        ),
        [
            sk.events.ResponseStart("r"),
            sk.events.RoleDelta("assistant"),
            sk.TextDelta("Blue"),
            sk.Usage(2, 1, 3, {"input_tokens": 2, "output_tokens": 1}),
            sk.TextDelta(" sky"),
            sk.Usage(2, 2, 4, {"input_tokens": 2, "output_tokens": 2}),
            sk.TextDelta("."),
            sk.Finish("stop"),
            sk.Usage(2, 3, 5, {"input_tokens": 2, "output_tokens": 3}),
        ],
        sk.StreamEnd("completed"),
    ),
    "DashScope, incremental": Fact(
        sse(
            '{"output":{"text":"Blue","finish_reason":"null"},"request_id":"r"}',
            '{"output":{"text":" sky","finish_reason":"null"},"request_id":"r"}',
            '{"output":{"text":"","finish_reason":"stop"},"request_id":"r"}',
        ),
        [sk.events.ResponseStart("r"), sk.TextDelta("Blue"), sk.TextDelta(" sky"), sk.Finish("stop")],
        sk.StreamEnd("completed"),
    ),
    "Text Generation Inference": Fact(
        sse(
            '{"index":1,"token":{"id":1,"text":"Blue","logprob":-0.5,"special":false},"generated_text":null,"details":null}',
            '{"index":2,"token":{"id":2,"text":"</s>","logprob":-0.25,"special":true},"generated_text":"Blue",'
            '"details":{"finish_reason":"eos_token","generated_tokens":2,"seed":null}}',
        ),
        [
            sk.TextDelta("Blue"),
            sk.events.Logprobs({"generated": [{"id": 1, "text": "Blue", "logprob": -0.5, "special": False}]}),
            sk.events.Logprobs({"generated": [{"id": 2, "text": "</s>", "logprob": -0.25, "special": True}]}),
            sk.Usage(None, 2, details={"generated_tokens": 2}),
            sk.Finish("eos_token"),
        ],
        STOPPED,
    ),
    "Workers AI": Fact(
        sse(
            '{"response":"Blue","p":"abcd"}',
            '{"response":" sky","p":"ab"}',
            f'{{"response":"","usage":{USED % (2, 4)}}}',
            "[DONE]",
        ),
        [sk.TextDelta("Blue"), sk.TextDelta(" sky"), usage(2, 2, 4)],
        sk.StreamEnd("completed", saw_done=True, open_choices=(0,)),
    ),
    "Anthropic": Fact(
        named(
            '{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],'
            '"usage":{"input_tokens":4,"output_tokens":1}}}',
            '{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}',
            '{"type":"ping"}',
            '{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}',
            '{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}',
            '{"type":"content_block_stop","index":0}',
            '{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}',
            '{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hi"}}',
            '{"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"type":"page_location"}}}',
            '{"type":"content_block_stop","index":1}',
            '{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}',
            '{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}',
            '{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\\"n\\": 1}"}}',
            '{"type":"content_block_stop","index":2}',
            '{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":9}}',
            '{"type":"message_stop"}',
        ),
        [
            sk.events.ResponseStart("msg_1", "message", model="m"),
            sk.events.RoleDelta("assistant"),
            sk.Usage(4, 1, 5, {"input_tokens": 4, "output_tokens": 1}),
            sk.events.ProviderNotice("ping", {"type": "ping"}),
            sk.ReasoningDelta("Hm"),
            sk.TextDelta("Hi"),
            sk.events.Annotation({"type": "page_location"}, part=1),
            sk.ToolCallDelta(0, "toolu_1", "f"),
            sk.ToolCallDelta(0, arguments='{"n": 1}'),
            sk.Usage(4, 9, 13, {"input_tokens": 4, "output_tokens": 9}),
            sk.Finish("tool_use"),
        ],
        CALLED,
    ),
    "Anthropic, error": Fact(
        named(
            '{"type":"message_start","message":{"content":[]}}',
            '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}',
            '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
        ),
        [sk.events.ResponseStart(), sk.TextDelta("Hi")],
        sk.StreamEnd("provider_error", open_choices=(0,)),
        "overloaded_error",
    ),
    "Responses, llama.cpp": Fact(
        named(
            '{"type":"response.created","response":{"id":"resp_1","object":"response","status":"in_progress"}}',
            '{"type":"response.output_item.added","item":{"type":"function_call","id":"a","call_id":"ca","name":"f","arguments":""}}',
            '{"type":"response.output_item.added","item":{"type":"function_call","id":"b","call_id":"cb","name":"g","arguments":""}}',
            '{"type":"response.function_call_arguments.delta","item_id":"a","delta":"{}"}',
            '{"type":"response.function_call_arguments.delta","item_id":"b","delta":"[]"}',
            '{"type":"response.completed","response":{"id":"resp_1","object":"response","status":"completed","output":[]}}',
        ),
        [
            sk.events.ResponseStart("resp_1", "response"),
            sk.ToolCallDelta(0, "ca", "f", type="function"),
            sk.ToolCallDelta(1, "cb", "g", type="function"),
            sk.ToolCallDelta(0, arguments="{}"),
            sk.ToolCallDelta(1, arguments="[]"),
            sk.Finish("completed"),
        ],
        CALLED,
    ),
    "Responses": Fact(
        named(
            '{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","created_at":7,"model":"m"}}',
            '{"type":"response.output_text.delta","sequence_number":1,"item_id":"i","output_index":0,"content_index":0,"delta":"Hi"}',
            '{"type":"response.completed","sequence_number":2,"response":{"id":"resp_1","object":"response","created_at":7,"model":"m",'
            '"status":"completed","output":[],"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}}',
        ),
        [
            sk.events.ResponseStart("resp_1", "response", 7, "m"),
            sk.TextDelta("Hi"),
            sk.Usage(1, 2, 3, {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
            sk.Finish("completed"),
        ],
        STOPPED,
    ),
}
each = pytest.mark.parametrize("fact", FACTS.values(), ids=FACTS)


def read(*pieces: bytes) -> tuple[list[sk.Event], sk.ProviderError | None]:
    events: list[sk.Event] = []
    try:
        events.extend(PIPELINE.run(pieces))
    except sk.ProviderError as error:
        return events, error
    return events, None


@each
def test_a_fact_is_read(fact: Fact) -> None:
    events, error = read(fact.body)

    # Other tests cover the events that carry the structure.
    said = [
        event
        for event in events
        if not isinstance(event, sk.events.PartStart | sk.events.PartEnd | sk.events.ResponseDetails)
    ]
    assert said == [*fact.events, fact.end]
    assert (error and (error.code or error.type)) == fact.code


@each
def test_a_fact_is_read_the_same_however_it_is_split(fact: Fact) -> None:
    whole = read(fact.body)

    for pieces in cuts(fact.body):
        events, error = read(*pieces)
        assert events == whole[0]
        assert repr(error) == repr(whole[1])


def test_every_fact_is_in_the_table() -> None:
    assert [name for name in FACTS if f"`{name}`" not in (__doc__ or "")] == []


def test_openrouters_comments_can_be_seen() -> None:
    pipeline = sk.sse.Lines() | sk.Parse(comments=True) | sk.Extract()

    first, *_, end = pipeline.run([FACTS["OpenRouter, comments"].body])

    assert first == sk.events.ProviderNotice("comment", " OPENROUTER PROCESSING")
    assert end == STOPPED


@pytest.mark.asyncio
async def test_openrouters_generation_id_is_in_the_headers() -> None:
    seen = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"X-Generation-Id": "gen-1", "content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(sse('{"choices":[{"index":0,"delta":{"content":"Hi"}}]}'))
        await seen.wait()
        await response.write(sse(STOP, "[DONE]"))
        return response

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server:
        source = sk.http.post(str(server.make_url("/")), json={})
        async with source | PIPELINE as events:
            assert await anext(events) == sk.TextDelta("Hi")
            assert source.headers["x-generation-id"] == "gen-1"
            seen.set()
            assert [event async for event in events] == [sk.Finish("stop"), STOPPED]


def test_a_background_stream_resumes_after_its_last_sequence_number() -> None:
    """`GET /responses/{id}?stream=true&starting_after=N` sends the events after event N, without a first event."""
    body = FACTS["Responses"].body
    first, rest = body[: body.index(b"event: response.completed")], body[body.index(b"event: response.completed") :]

    *before, end = read(first)[0]
    numbers = [event.raw["sequence_number"] for event in before if isinstance(event.raw, dict)]

    assert end.reason == "truncated"  # type: ignore[union-attr]
    assert numbers[-1] == 1
    assert read(rest)[0][-2:] == [sk.Finish("completed"), STOPPED]
