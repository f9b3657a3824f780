// Starts the real hub with its demo and a real browser; no part of either is imitated.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { chromium } from 'playwright-core'

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
]
export const PASSWORD = 'a password of the test'

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

async function startHub() {
  const binary = process.env.TIDINGS_BIN
  assert.ok(binary, 'set TIDINGS_BIN to the release binary')
  const dataDir = await mkdtemp(join(tmpdir(), 'tidings-e2e-'))
  const port = await freePort()
  const base = `http://127.0.0.1:${port}`
  const log = []
  const hub = spawn(binary, ['demo', '--listen', `127.0.0.1:${port}`, '--data-dir', dataDir], { stdio: ['ignore', 'pipe', 'pipe'] })
  for (const stream of [hub.stdout, hub.stderr]) stream.on('data', (chunk) => log.push(chunk.toString()))
  const gone = new Promise((resolve) => hub.once('exit', resolve))
  let exited = false
  void gone.then(() => { exited = true })

  async function stop() {
    if (!exited) hub.kill('SIGTERM')
    const patience = new AbortController()
    void sleep(20_000, undefined, { signal: patience.signal }).then(() => hub.kill('SIGKILL'), () => {})
    await gone
    patience.abort()
    await rm(dataDir, { recursive: true, force: true })
  }

  /** Makes a user, as an operator does beside the running hub. */
  function addUser(mail, role) {
    return new Promise((resolve, reject) => {
      const command = spawn(binary, ['user', 'create', mail, '--workspace', 'harbour-hearth', '--role', role, '--data-dir', dataDir], { stdio: ['pipe', 'ignore', 'inherit'] })
      command.stdin.end(`${PASSWORD}\n`)
      command.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`user create ended with ${code}`))))
    })
  }

  const deadline = Date.now() + 60_000
  while (Date.now() < deadline && !exited) {
    const ready = await fetch(`${base}/readyz`).then((answer) => answer.ok, () => false)
    if (ready) return { base, stop, addUser }
    await sleep(100)
  }
  await stop()
  throw new Error(`the hub did not become ready:\n${log.join('')}`)
}

/** What the browser itself logs where everything is as it should be. */
function isExpected(text, url) {
  // Refusals while somebody types, and wrong passwords.
  if (/^Failed to load resource: .* 422/.test(text)) return true
  if (/^Failed to load resource: .* 401/.test(text)) return url.endsWith('/v1/session')
  // Scripts in mails that the sandbox stopped.
  return /^Blocked script execution in 'about:srcdoc'/.test(text)
}

/** A hub, a browser and one page, which remembers everything that should not have happened. */
export async function startStage() {
  const hub = await startHub()
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS })
  const faults = []

  /** Another visitor, with cookies of their own. */
  async function visitor(options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: 'en-GB', ...options })
    context.setDefaultTimeout(30_000)
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => console.error(`CSP violation: ${event.violatedDirective} ${event.blockedURI}`))
    })
    context.on('page', (page) => page.on('dialog', (dialog) => {
      faults.push(`dialog: ${dialog.message()}`)
      void dialog.dismiss()
    }))
    const page = await context.newPage()
    page.on('pageerror', (error) => faults.push(`exception: ${error.message}`))
    page.on('console', (message) => {
      const { url } = message.location()
      if (message.type() === 'error' && !isExpected(message.text(), url)) faults.push(`console: ${message.text()} (${url})`)
    })
    return page
  }

  const page = await visitor()
  return {
    base: hub.base,
    page,
    faults,
    visitor,
    addUser: hub.addUser,
    open: async (path) => {
      await page.goto(`${hub.base}/console${path}`)
      await page.getByRole('heading', { level: 1 }).waitFor()
    },
    /** A call of the API as the signed-in person; `body` makes it a POST. */
    call: (path, body, type = 'application/json') => page.evaluate(async ([url, content, kind]) => {
      const session = await (await fetch('/v1/session')).json()
      const headers = { 'Tidings-Workspace': session.workspaces[0].slug }
      if (content) Object.assign(headers, { 'Tidings-CSRF': session.csrf, 'Content-Type': kind })
      const answer = await fetch(url, content ? { method: 'POST', headers, body: content } : { headers })
      if (!answer.ok) throw new Error(`${url}: ${answer.status}`)
      return answer.json()
    }, [path, body && typeof body !== 'string' ? JSON.stringify(body) : body, type]),
    stop: async () => {
      await browser.close()
      await hub.stop()
    },
  }
}

/** Tests that stand on the ones before them: after the first failure the others fail at once. */
export function steps(page) {
  let broken = ''
  return (name, body) => test(name, async () => {
    assert.equal(broken, '', 'an earlier step failed')
    broken = name
    try {
      await body()
    } catch (cause) {
      const shot = join(tmpdir(), 'tidings-e2e-failed.png')
      await page()?.screenshot({ path: shot }).catch(() => {})
      console.error(`“${name}” failed on ${page()?.url()}; the screen is in ${shot}`)
      throw cause
    }
    broken = ''
  })
}

/** Waits for a condition that no single element shows. */
export async function until(what, check) {
  const deadline = Date.now() + 90_000
  for (;;) {
    if (await check()) return
    if (Date.now() > deadline) assert.fail(`waited in vain: ${what}`)
    await sleep(100)
  }
}
