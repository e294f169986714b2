"""Types of Gemini's request bodies, which no client has. https://ai.google.dev/api/generate-content"""

from typing import Any, Literal, Required

from typing_extensions import TypedDict


class Schema(TypedDict, total=False):
    """An OpenAPI schema."""

    type: Required[Literal["OBJECT"]]
    properties: dict[str, dict[Literal["description"], str]]
    nullable: Literal[True]
    maxItems: Literal["3"]
    propertyOrdering: list[str]


class Data(TypedDict, total=False):
    """Media within the request."""

    mimeType: Required[Literal["image/png", "audio/mpeg", "audio/ogg", "application/pdf", "video/mp4", "text/plain"]]
    data: Required[str]
    displayName: str


class File(TypedDict, total=False):
    """Media at a URL."""

    fileUri: Required[Literal["https://a/b.png", "https://a/b.pdf", "gs://a/b"]]
    mimeType: Literal["image/png", "application/pdf"]


class Call(TypedDict, total=False):
    """A function call."""

    id: str
    name: Required[str]
    args: dict[str, str]


class ResultPart(TypedDict):
    """Media in a result."""

    inlineData: Data


class Result(TypedDict, total=False):
    """A function's result."""

    id: str
    name: Required[str]
    response: dict[Literal["output", "error", "result", "other"], str | dict[str, int]]
    scheduling: Literal["SILENT"]
    parts: list[ResultPart]


class Code(TypedDict):
    """Code that Google runs."""

    code: str
    language: Literal["PYTHON"]


class Thought(TypedDict):
    """A part of the model's reasoning."""

    thought: Literal[True]
    text: str


def _part(name: str, kind: Any) -> Any:
    more = {"thoughtSignature": str, "partMetadata": dict[str, str], "mediaResolution": dict[str, str]}
    return TypedDict(name, {name: Required[kind], **more}, total=False)  # type: ignore[operator] # one per kind


Part: Any = (
    Thought
    | _part("text", str)
    | _part("inlineData", Data)
    | _part("fileData", File)
    | _part("functionCall", Call)
    | _part("functionResponse", Result)
    | _part("executableCode", Code)
)


class Content(TypedDict, total=False):
    """A turn."""

    role: Literal["user", "model"]
    parts: Required[list[Part]]


class Function(TypedDict, total=False):
    """A function that the model may call."""

    name: Required[str]
    description: str
    parameters: Schema
    parametersJsonSchema: dict[str, str]
    behavior: str


class Thinking(TypedDict, total=False):
    """The options of reasoning."""

    includeThoughts: bool
    thinkingBudget: Literal[-1, 0, 100, 2000, 20000]
    thinkingLevel: Literal["MINIMAL", "low", "HIGH", "XHIGH", "x"]


class Config(TypedDict, total=False):
    """The options of the answer."""

    maxOutputTokens: int
    temperature: float
    topP: float
    topK: int
    stopSequences: list[str]
    seed: int
    candidateCount: int
    presencePenalty: float
    frequencyPenalty: float
    responseLogprobs: bool
    logprobs: int
    thinkingConfig: Thinking
    responseMimeType: Literal["text/plain", "application/json", "text/x.enum"]
    responseSchema: Schema
    responseJsonSchema: dict[str, str]
    responseModalities: list[Literal["TEXT", "IMAGE"]]
    speechConfig: dict[str, str]


class Tool(TypedDict, total=False):
    """Functions, or one of Google's own tools."""

    functionDeclarations: list[Function]
    googleSearch: dict[str, str]


class Calling(TypedDict, total=False):
    """The functions that the model may call."""

    mode: Literal["AUTO", "ANY", "NONE", "VALIDATED"]
    allowedFunctionNames: list[str]


class ToolConfig(TypedDict, total=False):
    """The options of all tools."""

    functionCallingConfig: Calling
    retrievalConfig: dict[str, str]


class GenerateContent(TypedDict, total=False):
    """A request."""

    contents: Required[list[Content]]
    systemInstruction: Content
    generationConfig: Config
    tools: list[Tool]
    toolConfig: ToolConfig
    safetySettings: list[dict[str, str]]
    cachedContent: str
    store: bool
