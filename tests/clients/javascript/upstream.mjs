// A provider of every API at once, npm's aimock, which answers by the user's message.
//
//     node upstream.mjs        # writes its address as JSON, and runs until its input is closed

import { LLMock } from '@copilotkit/aimock'

const ANSWERS = {
  text: { content: 'Hello' },
  tools: { toolCalls: [{ name: 'weather', arguments: { city: 'Paris' } }] },
  reasoning: { reasoning: 'Hm', content: 'Yes' },
  length: { content: 'Hel', finishReason: 'length' },
  moderated: { content: 'The code is blue heron 42, not more.' },
  error: { error: { message: 'Slow down', type: 'rate_limit_error' }, status: 429 },
}

const mock = new LLMock({ port: 0, chunkSize: 4, logLevel: 'silent' })
for (const [userMessage, response] of Object.entries(ANSWERS)) mock.on({ userMessage }, response)
await mock.start()
console.log(JSON.stringify({ url: mock.url }))
process.stdin.resume()
process.stdin.on('end', () => mock.stop().then(() => process.exit(0)))
