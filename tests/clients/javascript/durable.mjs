// Reads streams with the protocol's own client. Each line is {url, live}; the answer to it has the messages, in their order.
import { createInterface } from "node:readline"
import { stream } from "@durable-streams/client"

async function read({ url, live }) {
  const response = await stream({ url, live, json: true })
  const messages = []
  for await (const message of response.jsonStream()) messages.push(message)
  return messages
}

for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line)
  console.log(JSON.stringify({ ...task, answer: await read(task) }))
}
