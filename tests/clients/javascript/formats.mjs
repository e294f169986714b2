// What npm's clients make of an answer in each of their wire formats: its text, reasoning and calls, as JSON.
//
//     node formats.mjs        # reads tasks as lines of JSON, {format, url}, and writes each with its answer

import { createInterface } from 'node:readline'

import { HttpAgent } from '@ag-ui/client'
import Anthropic from '@anthropic-ai/sdk'
import { DefaultChatTransport, readUIMessageStream } from 'ai'
import OpenAI from 'openai'

const READERS = { 'ai-sdk': vercel, 'ag-ui': agent, anthropic: messages, responses }
const join = texts => texts.join('')

// The transport of `useChat`, which checks each chunk by `uiMessageChunkSchema`.
async function vercel(url) {
  const transport = new DefaultChatTransport({ api: url })
  const stream = await transport.sendMessages({ trigger: 'submit-message', chatId: 'any', messages: [] })
  let message
  for await (message of readUIMessageStream({ stream, terminateOnError: true }));
  const of = type => join(message.parts.filter(part => part.type === type).map(part => part.text))
  const calls = message.parts.filter(part => part.type.startsWith('tool-'))
  return { text: of('text'), reasoning: of('reasoning'), calls: calls.map(part => [part.type.slice(5), part.input]) }
}

// Checks each event by `EventSchemas` and their order by `verifyEvents`.
async function agent(url) {
  const { newMessages } = await new HttpAgent({ url, threadId: 'any' }).runAgent({ runId: 'any' })
  const of = role => join(newMessages.filter(message => message.role === role).map(message => message.content ?? ''))
  const calls = newMessages.flatMap(message => message.toolCalls ?? []).map(call => call.function)
  return { text: of('assistant'), reasoning: of('reasoning'), calls: calls.map(call => [call.name, JSON.parse(call.arguments)]) }
}

async function messages(url) {
  const client = new Anthropic({ apiKey: 'any', maxRetries: 0, fetch: (_, options) => fetch(url, options) })
  const request = { model: 'any', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] }
  const { content } = await client.messages.stream(request).finalMessage()
  const of = type => content.filter(block => block.type === type)
  return {
    text: join(of('text').map(block => block.text)),
    reasoning: join(of('thinking').map(block => block.thinking)),
    calls: of('tool_use').map(block => [block.name, block.input]),
  }
}

async function responses(url) {
  const client = new OpenAI({ apiKey: 'any', maxRetries: 0, fetch: (_, options) => fetch(url, options) })
  const { output } = await client.responses.stream({ model: 'any', input: 'x' }).finalResponse()
  const of = type => output.filter(item => item.type === type)
  return {
    text: join(of('message').flatMap(item => item.content).map(part => part.text ?? part.refusal)),
    reasoning: join(of('reasoning').flatMap(item => [...item.summary, ...(item.content ?? [])]).map(part => part.text)),
    calls: of('function_call').map(item => [item.name, JSON.parse(item.arguments)]),
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line)
  let answer
  try {
    answer = await READERS[task.format](task.url)
  } catch (error) {
    answer = { error: `${error.name}: ${error.message}`.slice(0, 500) }
  }
  console.log(JSON.stringify({ ...task, answer }))
}
