// `useChat` in a page, bundled for a browser: `read(url)` sends one message, and gives what was made of the answer.

import { useChat } from '@ai-sdk/react'
import { DefaultChatTransport } from 'ai'
import { createElement, useEffect, useRef } from 'react'
import { createRoot } from 'react-dom/client'

const join = texts => texts.join('')

function Chat({ url, done }) {
  const sent = useRef(false)
  const renders = useRef(new Set())
  const { messages, status, error, sendMessage } = useChat({ transport: new DefaultChatTransport({ api: url }) })
  const parts = messages.findLast(message => message.role === 'assistant')?.parts ?? []
  const of = type => join(parts.filter(part => part.type === type).map(part => part.text))
  if (of('text')) renders.current.add(of('text').length)
  useEffect(() => {
    if (sent.current) return
    sent.current = true
    sendMessage({ text: 'x' })
  }, [])
  useEffect(() => {
    if (status === 'error') done({ error: `${error}` })
    if (status !== 'ready' || !parts.length) return
    const calls = parts.filter(part => part.type.startsWith('tool-')).map(part => [part.type.slice(5), part.input])
    done({ text: of('text'), reasoning: of('reasoning'), calls, shown: document.getElementById('answer').textContent, renders: renders.current.size })
  })
  return createElement('p', { id: 'answer' }, of('text'))
}

window.read = url => new Promise(resolve => {
  const place = document.createElement('div')
  document.body.replaceChildren(place)
  const root = createRoot(place)
  const done = answer => setTimeout(() => { root.unmount(); resolve(answer) })
  root.render(createElement(Chat, { url, done }))
})

// A chat that may resume: `window.chat(api, id, resume, text)` shows it, and `window.seen` is what it shows.
function Resumable({ api, id, resume, text }) {
  const sent = useRef(false)
  const { messages, status, error, sendMessage } = useChat({ id, resume, transport: new DefaultChatTransport({ api }) })
  const answers = messages.filter(message => message.role === 'assistant')
  const texts = answers.map(message => join(message.parts.filter(part => part.type === 'text').map(part => part.text)))
  useEffect(() => {
    if (!text || sent.current) return
    sent.current = true
    sendMessage({ text })
  }, [])
  useEffect(() => { window.seen = { texts, status, error: error ? `${error}` : null } })
  return createElement('p', {}, join(texts))
}

window.chat = (api, id, resume, text) => {
  const place = document.createElement('div')
  document.body.replaceChildren(place)
  createRoot(place).render(createElement(Resumable, { api, id, resume, text }))
}
