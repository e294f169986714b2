// What npm's `ai` makes of UI messages: reads a list of lists of them as JSON, and writes what each becomes.
//
//     node model_messages.mjs < MESSAGES

import { convertToModelMessages } from 'ai'
import { text } from 'node:stream/consumers'

const found = []
for (const messages of JSON.parse(await text(process.stdin))) found.push(await convertToModelMessages(messages))
process.stdout.write(JSON.stringify(found))
