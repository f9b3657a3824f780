// Starts the real hub with its demo and a real browser; no part of either is imitated.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { chromium } from 'playwright-core'

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
]

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
    await Promise.race([gone, sleep(20_000).then(() => hub.kill('SIGKILL'))])
    await rm(dataDir, { recursive: true, force: true })
  }

  const deadline = Date.now() + 60_000
  while (Date.now() < deadline && !exited) {
    const ready = await fetch(`${base}/readyz`).then((answer) => answer.ok, () => false)
    if (ready) return { base, stop }
    await sleep(100)
  }
  await stop()
  throw new Error(`the hub did not become ready:\n${log.join('')}`)
}

/** A hub, a browser and one page, which remembers everything that should not have happened. */
export async function startStage() {
  const hub = await startHub()
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS })
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: 'en-GB' })
  context.setDefaultTimeout(20_000)
  const faults = []
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => console.error(`CSP violation: ${event.violatedDirective} ${event.blockedURI}`))
  })
  const refuseDialogs = (page) => page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  const watch = (page) => {
    page.on('pageerror', (error) => faults.push(`exception: ${error.message}`))
    page.on('console', (message) => {
      // The browser itself logs what is refused with 422 while somebody types, and the scripts in mails that the sandbox stopped.
      const expected = /^Failed to load resource: .* 422|^Blocked script execution in 'about:srcdoc'/.test(message.text())
      if (message.type() === 'error' && !expected) faults.push(`console: ${message.text()} (${message.location().url})`)
    })
  }
  context.on('page', refuseDialogs)
  const page = await context.newPage()
  watch(page)

  return {
    base: hub.base,
    page,
    context,
    faults,
    open: async (path) => {
      await page.goto(`${hub.base}/console${path}`)
      await page.getByRole('heading', { level: 1 }).waitFor()
    },
    /** A call of the API as the signed-in person. */
    call: (path) => page.evaluate(async (url) => {
      const session = await (await fetch('/v1/session')).json()
      const workspace = localStorage.getItem('tidings-workspace') ?? session.workspaces[0].slug
      const answer = await fetch(url, { headers: { 'Tidings-Workspace': workspace } })
      if (!answer.ok) throw new Error(`${url}: ${answer.status}`)
      return answer.json()
    }, path),
    stop: async () => {
      await browser.close()
      await hub.stop()
    },
  }
}

/** What stands between a page and somebody who cannot see it or has no mouse; an empty list is good. */
export function accessibilityFaults(page) {
  return page.evaluate(() => {
    const faults = []
    const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest('[aria-hidden="true"]')
    const all = (selector) => [...document.querySelectorAll(selector)].filter(shown)
    const text = (id) => document.getElementById(id)?.textContent?.trim() ?? ''
    const name = (element) =>
      element.getAttribute('aria-label')?.trim() ||
      (element.getAttribute('aria-labelledby') ?? '').split(' ').map(text).join(' ').trim() ||
      [...(element.labels ?? [])].map((label) => label.textContent.trim()).join(' ') ||
      (/^(INPUT|SELECT|TEXTAREA)$/.test(element.tagName) ? '' : element.textContent.trim()) ||
      element.title
    if (!document.documentElement.lang) faults.push('the page names no language')
    if (!document.title) faults.push('the page has no title')
    if (all('h1').length !== 1) faults.push(`${all('h1').length} main headings`)
    if (all('main').length !== 1) faults.push(`${all('main').length} main landmarks`)
    for (const element of all('a[href], button, input:not([type=hidden]), select, textarea, iframe, [role=progressbar], [role=img], [role=dialog], dialog, nav')) {
      if (!name(element)) faults.push(`no name: ${element.outerHTML.slice(0, 120)}`)
    }
    for (const element of all('img')) if (!element.hasAttribute('alt')) faults.push(`no alt: ${element.outerHTML.slice(0, 120)}`)
    for (const element of all('[tabindex]')) if (Number(element.getAttribute('tabindex')) > 0) faults.push(`takes the focus out of turn: ${element.outerHTML.slice(0, 120)}`)
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id)
    for (const id of new Set(ids.filter((id, index) => ids.indexOf(id) !== index))) faults.push(`two elements are called ${id}`)
    for (const element of all('[aria-describedby], [aria-controls], [aria-labelledby]')) {
      for (const attribute of ['aria-describedby', 'aria-controls', 'aria-labelledby']) {
        for (const id of (element.getAttribute(attribute) ?? '').split(' ').filter(Boolean)) if (!document.getElementById(id)) faults.push(`${attribute} names ${id}, which is not there`)
      }
    }
    return faults
  })
}
