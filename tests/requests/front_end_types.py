"""Types of front ends' requests: `useChat` (`UIMessage` of npm's `ai` 7) and `RunAgentInput` (`@ag-ui/core` 1.0)."""

from typing import Any, Literal, Required

from typing_extensions import TypedDict


class Text(TypedDict, total=False):
    """`TextUIPart`."""

    type: Required[Literal["text"]]
    text: Required[str]
    state: Literal["streaming", "done"]
    providerMetadata: dict[str, dict[str, str]]


class Reasoning(TypedDict, total=False):
    """`ReasoningUIPart`."""

    type: Required[Literal["reasoning"]]
    text: Required[str]
    state: Literal["streaming", "done"]


class File(TypedDict, total=False):
    """`FileUIPart`."""

    type: Required[Literal["file"]]
    mediaType: Required[Literal["image", "image/*", "image/png", "application/pdf", "audio/mpeg", "video/mp4"]]
    url: Required[Literal["https://a/b.png", "https://a/b.pdf", "data:image/png;base64,AAAA"]]
    filename: str
    providerReference: dict[str, str]


class Source(TypedDict, total=False):
    """`SourceUrlUIPart`."""

    type: Required[Literal["source-url"]]
    sourceId: Required[str]
    url: Required[str]
    title: str


class Data(TypedDict, total=False):
    """`DataUIPart`."""

    type: Required[Literal["data-weather"]]
    id: str
    data: Required[dict[str, str]]


class Approval(TypedDict, total=False):
    """The user's decision about a call."""

    id: Required[str]
    approved: bool
    reason: str


class Tool(TypedDict, total=False):
    """`ToolUIPart`, in any of its states."""

    type: Required[Literal["tool-look", "tool-run"]]
    toolCallId: Required[str]
    state: Required[
        Literal[
            "input-streaming",
            "input-available",
            "approval-requested",
            "approval-responded",
            "output-available",
            "output-error",
            "output-denied",
        ]
    ]
    input: dict[str, str]
    rawInput: str
    output: str | dict[str, int]
    errorText: str
    providerExecuted: bool
    preliminary: bool
    approval: Approval
    callProviderMetadata: dict[str, dict[str, str]]


class DynamicTool(TypedDict, total=False):
    """`DynamicToolUIPart`."""

    type: Required[Literal["dynamic-tool"]]
    toolName: Required[str]
    toolCallId: Required[str]
    state: Required[Literal["output-available"]]
    input: Required[dict[str, str]]
    output: Required[str]


class StepStart(TypedDict):
    """`StepStartUIPart`."""

    type: Required[Literal["step-start"]]


class Steering(TypedDict, total=False):
    """`SteeringMessageUIPart`."""

    type: Required[Literal["steering-message"]]
    parts: Required[list[Text | File]]


class UserMessage(TypedDict, total=False):
    """`UIMessage` of the user or the system."""

    id: Required[str]
    role: Required[Literal["user", "system"]]
    metadata: dict[str, str]
    parts: Required[list[Text | File | Data]]


class AssistantMessage(TypedDict, total=False):
    """`UIMessage` of the assistant."""

    id: Required[str]
    role: Required[Literal["assistant"]]
    parts: Required[list[Text | Reasoning | File | Source | Data | Tool | DynamicTool | StepStart | Steering]]


class ChatRequest(TypedDict, total=False):
    """The body that `DefaultChatTransport` sends, with an option added by the application."""

    id: str
    trigger: Literal["submit-message", "regenerate-message"]
    messageId: str
    model: str
    own: str
    messages: list[UserMessage | AssistantMessage]


class PartSource(TypedDict, total=False):
    """`DataSource`, `UrlSource` or `FileSource`."""

    type: Required[Literal["data", "url", "file"]]
    value: Required[Literal["https://a/b.png"]]
    mimeType: Literal["image/png", "application/pdf", "audio/wav", "video/mp4"]
    provider: str


class AgentText(TypedDict, total=False):
    """`TextPart`."""

    type: Required[Literal["text"]]
    id: str
    text: Required[str]
    metadata: dict[str, str]


class Media(TypedDict, total=False):
    """`ImagePart`, `AudioPart`, `VideoPart` or `DocumentPart`."""

    type: Required[Literal["image", "audio", "video", "document"]]
    id: str
    source: Required[PartSource]


class Binary(TypedDict, total=False):
    """`BinaryInputContent`, before version 1.0."""

    type: Required[Literal["binary"]]
    mimeType: Required[Literal["image/png", "application/pdf", "video/mp4"]]
    data: Literal["AAAA"]
    url: Literal["https://a/b.png"]
    id: str
    filename: str


class Function(TypedDict):
    """`FunctionCall`."""

    name: Required[str]
    arguments: Required[str]


class AgentCall(TypedDict, total=False):
    """`ToolCall`."""

    id: Required[str]
    type: Required[Literal["function"]]
    function: Required[Function]
    encryptedValue: str


class AgentUser(TypedDict, total=False):
    """`UserMessage`."""

    id: Required[str]
    role: Required[Literal["user"]]
    name: str
    content: Required[str | list[AgentText | Media | Binary]]


class AgentInstructions(TypedDict, total=False):
    """`SystemMessage` or `DeveloperMessage`."""

    id: Required[str]
    role: Required[Literal["system", "developer"]]
    content: Required[str]


class AgentAnswer(TypedDict, total=False):
    """`AssistantMessage`."""

    id: Required[str]
    role: Required[Literal["assistant"]]
    content: str
    toolCalls: list[AgentCall]
    subagentRunId: str


class AgentResult(TypedDict, total=False):
    """`ToolMessage`."""

    id: Required[str]
    role: Required[Literal["tool"]]
    toolCallId: Required[str]
    content: Required[str]
    error: str


class AgentReasoning(TypedDict, total=False):
    """`ReasoningMessage` or `ActivityMessage`."""

    id: Required[str]
    role: Required[Literal["reasoning", "activity"]]
    activityType: str
    content: str


class AgentTool(TypedDict, total=False):
    """`Tool`."""

    name: Required[str]
    description: Required[str]
    parameters: dict[Literal["type", "title"], str]


class AgentContext(TypedDict):
    """`Context`."""

    description: Required[str]
    value: Required[str]


class RunAgentInput(TypedDict, total=False):
    """The body that `HttpAgent` sends."""

    threadId: Required[str]
    runId: Required[str]
    state: dict[str, str]
    tools: list[AgentTool]
    context: list[AgentContext]
    forwardedProps: dict[str, str]
    messages: list[AgentUser | AgentInstructions | AgentAnswer | AgentResult | AgentReasoning]


FRONT_ENDS: dict[str, Any] = {"ai-sdk": ChatRequest, "ag-ui": RunAgentInput}
