// What npm's clients make of an answer through the gateway: its text, reasoning, calls and end, or its status, as JSON.
//
//     node gateway.mjs        # reads tasks as lines of JSON, {client, url, scenario}, and writes each with its answer

import { createInterface } from 'node:readline'

import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import Anthropic from '@anthropic-ai/sdk'
import { jsonSchema, streamText, tool } from 'ai'
import OpenAI from 'openai'

const READERS = { 'openai chat': chat, '@anthropic-ai/sdk': messages, 'openai responses': responses, ai: vercel }
const SCHEMA = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
const key = { apiKey: 'any', maxRetries: 0 }
const join = texts => texts.join('')

async function chat(url, scenario) {
  const client = new OpenAI({ ...key, baseURL: `${url}/v1` })
  const tools = [{ type: 'function', function: { name: 'weather', parameters: SCHEMA } }]
  const more = { tools: { tools }, reasoning: { reasoning_effort: 'high' }, length: { max_completion_tokens: 20 } }[scenario]
  const stream = client.chat.completions.stream({ model: 'any', messages: [{ role: 'user', content: scenario }], ...more })
  let reasoning = ''
  stream.on('chunk', ({ choices }) => choices.forEach(({ delta }) => (reasoning += delta.reasoning_content ?? '')))
  const { message, finish_reason } = (await stream.finalChatCompletion()).choices[0]
  const calls = (message.tool_calls ?? []).map(call => [call.function.name, JSON.parse(call.function.arguments)])
  return { text: message.content ?? '', reasoning, calls, end: finish_reason }
}

async function messages(url, scenario) {
  const client = new Anthropic({ ...key, baseURL: url })
  const more = {
    tools: { tools: [{ name: 'weather', input_schema: SCHEMA }] },
    reasoning: { thinking: { type: 'enabled', budget_tokens: 1024 } },
    length: { max_tokens: 20 },
  }[scenario]
  const asked = { model: 'any', max_tokens: 2000, messages: [{ role: 'user', content: scenario }], ...more }
  const { content, stop_reason } = await client.messages.stream(asked).finalMessage()
  const of = type => content.filter(block => block.type === type)
  return {
    text: join(of('text').map(block => block.text)),
    reasoning: join(of('thinking').map(block => block.thinking)),
    calls: of('tool_use').map(block => [block.name, block.input]),
    end: { end_turn: 'stop', max_tokens: 'length', tool_use: 'tool_calls' }[stop_reason],
  }
}

async function responses(url, scenario) {
  const client = new OpenAI({ ...key, baseURL: `${url}/v1` })
  const more = {
    tools: { tools: [{ type: 'function', name: 'weather', parameters: SCHEMA, strict: false }] },
    reasoning: { reasoning: { effort: 'high', summary: 'auto' } },
    length: { max_output_tokens: 20 },
  }[scenario]
  const { output, status } = await client.responses.stream({ model: 'any', input: scenario, ...more }).finalResponse()
  const of = type => output.filter(item => item.type === type)
  const calls = of('function_call').map(item => [item.name, JSON.parse(item.arguments)])
  return {
    text: join(of('message').flatMap(item => item.content).map(part => part.text ?? part.refusal)),
    reasoning: join(of('reasoning').flatMap(item => item.summary).map(part => part.text)),
    calls,
    end: status === 'incomplete' ? 'length' : calls.length ? 'tool_calls' : 'stop',
  }
}

async function vercel(url, scenario) {
  const provider = createOpenAICompatible({ name: 'any', baseURL: `${url}/v1`, apiKey: 'any' })
  const weather = tool({ inputSchema: jsonSchema(SCHEMA) })
  const result = streamText({
    model: provider.chatModel('any'),
    prompt: scenario,
    maxRetries: 0,
    onError() {},
    ...(scenario === 'tools' ? { tools: { weather } } : {}),
    ...(scenario === 'length' ? { maxOutputTokens: 20 } : {}),
  })
  for await (const part of result.fullStream) if (part.type === 'error') throw part.error
  const [text, reasoning, calls, end] = await Promise.all([
    result.text, result.reasoningText, result.toolCalls, result.finishReason,
  ])
  return {
    text,
    reasoning: reasoning ?? '',
    calls: calls.map(call => [call.toolName, call.input]),
    end: end.replace('-', '_'),
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line)
  let answer
  try {
    answer = await READERS[task.client](task.url, task.scenario)
  } catch (error) {
    answer = { status: error.status ?? error.statusCode ?? null, message: `${error.name}: ${error.message}`.slice(0, 500) }
  }
  console.log(JSON.stringify({ ...task, answer }))
}
