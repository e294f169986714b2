// What npm's clients make of an answer, in the form that readers.py describes.
//
//     node read.mjs CLIENT    # reads tasks as lines of JSON, and writes an answer for each

import { createInterface } from 'node:readline'

import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, streamText } from 'ai'
import OpenAI from 'openai'

const messages = [{ role: 'user', content: 'x' }]
const stream_options = { include_usage: true }
const usageOf = usage => usage ? [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens] : null

const READERS = { 'openai (npm)': openai, ai: vercel }

// The helper `.stream()`, which assembles the answer. Of a field that it does not know it keeps the last piece, so that
// reasoning is joined here.
async function openai({ url, api, stream }) {
  const client = new OpenAI({ baseURL: url, apiKey: 'any', maxRetries: 0 })
  if (api === 'completions') return await openaiText(client, stream)
  if (!stream) return openaiAnswer(await client.chat.completions.create({ model: 'any', messages }), {})
  const reasoning = {}
  const events = client.chat.completions.stream({ model: 'any', messages, stream_options })
  events.on('chunk', chunk => {
    for (const { index, delta } of chunk.choices) {
      reasoning[index] = (reasoning[index] ?? '') + (delta?.reasoning_content || delta?.reasoning || '')
    }
  })
  return openaiAnswer(await events.finalChatCompletion(), reasoning)
}

function openaiAnswer(completion, reasoning) {
  const choices = {}
  for (const { index, message, finish_reason } of completion.choices) {
    const calls = (message.tool_calls ?? []).map(call => [call.id, call.type, call.function?.name, call.function?.arguments])
    const called = message.function_call
    if (called) calls.push([null, 'function_call', called.name, called.arguments])
    choices[index] = {
      role: message.role,
      text: message.content || '',
      reasoning: reasoning[index] ?? message.reasoning_content ?? '',
      refusal: message.refusal || '',
      calls,
      citations: (message.annotations ?? []).filter(one => one.url_citation).map(({ url_citation: one }) => [one.url, one.start_index, one.end_index]),
      finish: finish_reason,
    }
  }
  return { id: completion.id, model: completion.model, usage: usageOf(completion.usage), choices }
}

async function openaiText(client, stream) {
  const answer = await client.completions.create({ model: 'any', prompt: 'x', ...(stream ? { stream, stream_options } : {}) })
  const chunks = []
  if (stream) for await (const chunk of answer) chunks.push(chunk)
  else chunks.push(answer)
  const choices = {}
  for (const { index, text, finish_reason, logprobs } of chunks.flatMap(chunk => chunk.choices)) {
    const known = choices[index] ??= { text: '', finish: null, tokens: [] }
    known.text += text || ''
    known.finish = finish_reason || known.finish
    known.tokens.push(...(logprobs?.tokens ?? []))
  }
  const { id, model } = chunks[0]
  return { id, model, usage: usageOf(chunks.findLast(chunk => chunk.usage)?.usage), choices }
}

// `streamText()` with the provider for APIs that are compatible with OpenAI's. It has one choice, whose text includes a refusal.
async function vercel({ url, stream }) {
  const provider = createOpenAICompatible({ name: 'any', baseURL: url, apiKey: 'any', includeUsage: true })
  const options = { model: provider.chatModel('any'), prompt: 'x', maxRetries: 0 }
  const result = stream ? streamText({ ...options, onError() {} }) : await generateText(options)
  if (stream) {
    for await (const part of result.fullStream) if (part.type === 'error') throw part.error
  }
  const [text, reasoning, calls, finish, usage] = await Promise.all([
    result.text, result.reasoningText, result.toolCalls, result.finishReason, result.usage,
  ])
  return {
    usage: [usage.inputTokens ?? null, usage.outputTokens ?? null, usage.totalTokens ?? null],
    choices: {
      0: {
        text,
        reasoning: reasoning ?? '',
        calls: calls.map(call => [call.toolCallId, 'function', call.toolName, JSON.stringify(call.input)]),
        finish,
      },
    },
  }
}

async function read(client, task) {
  try {
    return { error: null, ...(await READERS[client](task)) }
  } catch (error) {
    return { error: `${error?.constructor?.name}: ${error?.message ?? JSON.stringify(error)}`.slice(0, 500) }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line)
  console.log(JSON.stringify({ ...task, answer: await read(process.argv[2], task) }))
}
