"""The meaning of providers' finish reasons.

The lookup ignores case and punctuation, because proxies send one provider's finish reasons in another's wire format and spell
them differently: `MAX_TOKENS`, `max-tokens` and `maxTokens` are the same. A finish reason that is not listed is "unknown",
which is not a success: an answer is complete only if its finish reason is understood.
"""

from typing import Final

from streamkit.completion import EndReason

_WORDS: Final[dict[EndReason, str]] = {
    # OpenAI https://platform.openai.com/docs/api-reference/chat/object, Responses …/responses/object
    # Anthropic https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons (`pause_turn`, `compaction`: whole
    #   responses, which the client sends back unchanged so that the model continues)
    # Cohere https://docs.cohere.com/reference/chat-stream, Mistral https://docs.mistral.ai/api/#tag/chat
    # Gemini https://ai.google.dev/api/generate-content#FinishReason, TGI https://huggingface.co/docs/text-generation-inference
    # Ollama https://docs.ollama.com/api/generate (`load`, `unload`: the reply to an empty prompt)
    # Together `eos`, xAI `end_turn`, Baidu `normal`, AI21 and Amazon Titan `endoftext`, `FINISH`
    # LM Studio https://lmstudio.ai/docs/python/llm-prediction/completion (`eosFound` …), Yandex `ALTERNATIVE_STATUS_FINAL`
    "completed": """
        stop stop_sequence stop_sequence_reached stop_string_found stop_criteria_met end_turn end_of_text end_of_sequence
        endoftext eos eos_token eos_found complete completed finish finished normal load unload
        pause_turn compaction alternative_status_final
    """,
    # Mistral `model_length`, Zhipu and Anthropic `model_context_window_exceeded`, Cohere `ERROR_LIMIT` (the context is full),
    # watsonx https://cloud.ibm.com/apidocs/watsonx-ai#text-generation-stream, OpenAI's Assistants `max_prompt_tokens`,
    # Responses `max_messages`, Reka and SenseTime `context`, llama.cpp `limit`, Aleph Alpha `maximum_tokens`,
    # vLLM `repetition` (it stopped an answer that repeats itself)
    "length": """
        length max_length max_tokens max_output_tokens max_completion_tokens max_prompt_tokens max_new_tokens max_messages
        max_predicted_tokens_reached maximum_tokens token_limit model_length limit context context_length
        context_length_exceeded context_length_reached context_window_exceeded model_context_window_exceeded error_limit
        repetition alternative_status_truncated_final
    """,
    # Azure https://learn.microsoft.com/azure/ai-services/openai/concepts/content-filter, Zhipu, Tencent and SenseTime
    # `sensitive`, Cohere `ERROR_TOXIC`, GigaChat `blacklist`, Gemini's reasons for blocking an answer or (`JAILBREAK`) a prompt,
    # Bedrock https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, Databricks' guardrails
    "content_filter": """
        content_filter content_filtered content_blocked content_policy_violation refusal sensitive blacklist error_toxic
        safety recitation language blocklist prohibited_content spii model_armor jailbreak
        image_safety image_prohibited_content image_recitation
        guardrail_intervened input_guardrail_triggered output_guardrail_triggered alternative_status_content_filter
    """,
    "tool_calls": """
        tool_calls tool_call tool_use function_call function_calls requires_action alternative_status_tool_calls
    """,
    # vLLM and SGLang `abort`, DeepSeek https://api-docs.deepseek.com/api/create-chat-completion, Zhipu
    # https://docs.bigmodel.cn/api-reference (`network_error`), OpenRouter and Mistral `error`, Gemini's
    # reasons for an unusable answer, Bedrock's malformed output
    "provider_error": """
        error failed failure run_failed abort aborted network_error server_error internal_error internal_server_error
        insufficient_system_resource model_unloaded malformed_function_call malformed_tool_call
        malformed_tool_use malformed_response malformed_model_output unexpected_tool_call too_many_tool_calls
        missing_thought_signature no_image
    """,
    # OpenAI's Assistants `expired`, watsonx `time_limit`, Triton `timeout`
    "timeout": "timeout timed_out time_limit time_limit_exceeded deadline_exceeded expired run_expired",
    # Cohere `USER_CANCEL`, Replicate `canceled`, LM Studio `userStopped`, Responses `steered` (another response follows)
    "cancelled": """
        cancelled canceled cancel user_cancel user_cancelled user_canceled run_cancelled client_cancelled user_stopped steered
    """,
    # The response reports itself incomplete without a cause.
    "truncated": "incomplete partial",
}
# Placeholders sent while there is no finish reason. (watsonx, Gemini, DashScope, llama.cpp; the status of a response)
_PENDING: Final[str] = """
    null none undefined not_finished finish_reason_unspecified unspecified in_progress queued alternative_status_partial
"""


def _key(word: str) -> str:
    return "".join(filter(str.isalnum, word.lower()))


_MEANINGS: Final[dict[str, EndReason]] = {_key(word): end for end, words in _WORDS.items() for word in words.split()}
_AS_SENT: Final[dict[str, EndReason]] = {word: end for end, words in _WORDS.items() for word in words.split()}
"""The same by the usual spelling, which needs no normalization."""
_NO_WORDS: Final[frozenset[str]] = frozenset(map(_key, _PENDING.split()))


def meaning(word: str) -> EndReason:
    """Map a provider's finish reason to ours; "unknown" if no provider is known to use it."""
    if (known := _AS_SENT.get(word)) is not None:
        return known
    key = _key(word)
    # An enumeration value may include the name of its type: `FinishReason.STOP`, `FINISH_REASON_STOP`.
    return _MEANINGS.get(key) or _MEANINGS.get(key.removeprefix("finishreason"), "unknown")


def is_pending(word: str) -> bool:
    """Whether this is a placeholder sent while there is no finish reason, so that the answer has not ended."""
    if word in _AS_SENT:
        return False
    # A value without letters, such as a dash, is an unknown finish reason, not a placeholder.
    key = _key(word)
    return key in _NO_WORDS if key else not word.strip()
