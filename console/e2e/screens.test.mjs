// Every screen: usable without eyes or mouse, readable in light and dark, and fit for a phone; and who may come in.
import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { accessibilityFaults, contrastFaults, focused, overflow } from './accessible.mjs'
import { PASSWORD, startStage, steps, until } from './harness.mjs'

let stage
let page
const step = steps(() => page)
const button = (name) => page.getByRole('button', { name, exact: true })

before(async () => {
  stage = await startStage()
  page = stage.page
})
after(async () => { await stage?.stop() })

/** Waits until nothing on the screen is still being fetched. */
const loaded = (what) => until(`${what} is loaded`, async () => (await page.locator('main [aria-busy="true"]').count()) === 0)

/** What a screen shows must fit, be named and be readable; `found` collects what is not. */
async function look(what, found) {
  for (const fault of await accessibilityFaults(page)) found.push(`${what}: ${fault}`)
  for (const fault of await contrastFaults(page)) found.push(`${what}: ${fault}`)
  const over = await overflow(page)
  if (over > 0) found.push(`${what}: ${over} px too wide`)
}

/** Something to see on every screen that the demo alone leaves empty. */
async function furnish() {
  await stage.call('/v1/imports?filename=waiting.csv', 'number;mail\n1;one@example.com\n', 'text/csv')
  const made = await stage.call('/v1/imports?filename=a-rather-long-name-of-a-file-from-some-other-system.csv', 'number;mail\n1;one@example.com\n2;two\n', 'text/csv')
  await page.evaluate(async ([url, body]) => {
    const { csrf, workspaces } = await (await fetch('/v1/session')).json()
    const headers = { 'Tidings-Workspace': workspaces[0].slug, 'Tidings-CSRF': csrf, 'Content-Type': 'application/json' }
    await fetch(url, { method: 'PATCH', headers, body })
  }, [`/v1/imports/${made.id}`, JSON.stringify({ mapping: { mode: 'upsert', columns: [{ column: 0, to: 'external_id' }, { column: 1, to: 'email' }] } })])
  await stage.call(`/v1/imports/${made.id}/start`, {})
  await until('the import is done', async () => (await stage.call(`/v1/imports/${made.id}`)).state === 'done')
  const template = (await stage.call('/v1/templates?limit=1')).items[0]
  await stage.call('/v1/campaigns', { name: 'A draft', template_id: template.id, class: 'marketing', sender: { name: 'The test', address: 'test@example.com' } })
  await stage.call('/v1/attributes', { name: 'zone_of_the_test', kind: 'text' })
  const planned = { name: 'A planned draft', template_id: template.id, class: 'marketing', sender: { name: 'The test', address: 'test@example.com' }, local: { at: '2126-11-27T09:00', zone_attribute: 'zone_of_the_test' }, holdout_percent: 10, test: { variants: [{ name: 'A', weight: 50 }, { name: 'B', weight: 50, subject: 'Another subject' }], share_percent: 50, metric: 'opens', hours: 24 } }
  await stage.call('/v1/campaigns', planned)
  const going = await stage.call('/v1/campaigns', { ...planned, name: 'A test that runs', local: null })
  await stage.call(`/v1/campaigns/${going.id}/launch`, {})
  await stage.call('/v1/blocks', { name: 'a footer', body: '<p>{{ workspace.name }}</p>' })
  await stage.call('/v1/templates', { name: 'In two languages', subject: 'Hi', html: '{{content_blocks.${a footer}}}<a href="nowhere">x</a>', variants: [{ language: 'de', subject: 'Hallo', html: 'Hallo' }] })
  await stage.call('/v1/groups', { name: 'A group of the test' })
  await stage.call('/v1/suppressions', { channel: 'email', address: 'a.rather.long.address.for.a.phone@suppressed.example.com' })
  await stage.call('/v1/tokens', { name: 'A token', scopes: ['customers:read', 'customers:write', 'imports', 'segments'] })
}

async function addresses() {
  const ids = async (path) => (await stage.call(`${path}?limit=9`)).items.map((item) => item.id)
  const one = async (path) => (await ids(path))[0]
  const campaigns = (await stage.call('/v1/campaigns?limit=9')).items
  const draft = campaigns.find(({ state }) => state === 'draft').id
  const customer = await one('/v1/customers')
  return [
    '/', '/customers', '/customers?q=nobody-is-called-so', '/customers/new', `/customers/${customer}`, `/customers/${customer}/edit`,
    '/imports', ...(await ids('/v1/imports')).map((id) => `/imports/${id}`),
    '/segments', '/segments/new', `/segments/${await one('/v1/segments')}`, '/templates', '/templates/new', ...(await ids('/v1/templates')).map((id) => `/templates/${id}`),
    '/blocks', '/blocks/new', `/blocks/${await one('/v1/blocks')}`, '/images',
    '/campaigns', '/campaigns/new', `/campaigns/${draft}/edit`, ...campaigns.map(({ id }) => `/campaigns/${id}`),
    '/mailbox', `/mailbox?mail=${await one('/v1/mailbox')}`,
    '/settings', '/settings?tab=groups', '/settings?tab=topics', '/settings?tab=forms', '/settings?tab=suppressions', '/settings?tab=email', '/settings?tab=sending', '/alerts', '/settings?tab=tokens', '/settings?tab=users', '/settings?tab=roles', '/settings?tab=audit', '/settings?tab=account', '/no-such-screen',
  ]
}

step('every screen can be used without eyes or mouse, is readable, and fits a phone', async () => {
  await stage.open('/')
  await until('the first campaign is over', async () => (await stage.call('/v1/campaigns?limit=1')).items[0].state === 'done')
  await furnish()
  const found = []
  const screens = await addresses()
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    for (const width of [1440, 390]) {
      await page.setViewportSize({ width, height: width === 390 ? 844 : 900 })
      for (const screen of screens) {
        await stage.open(screen)
        await loaded(screen)
        await look(`${screen} at ${width}, ${colorScheme}`, found)
      }
    }
  }
  assert.deepEqual(found, [])
})

step('a phone has the menu behind a button', async () => {
  await button('Menu').click()
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Campaigns' }).click()
  await page.getByRole('heading', { level: 1, name: 'Campaigns' }).waitFor()
  await button('Close menu').waitFor({ state: 'detached' })
  await page.setViewportSize({ width: 1280, height: 900 })
})

step('the focus goes in reading order and can be seen', async () => {
  await stage.open('/campaigns/new')
  await page.getByLabel('Name', { exact: true }).waitFor()
  const order = []
  for (let press = 0; press < 60 && !order.at(-1)?.startsWith('Save and review'); press += 1) {
    await page.keyboard.press('Tab')
    order.push(await focused(page))
    const outline = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement)
      return { style: style.outlineStyle, width: parseFloat(style.outlineWidth) }
    })
    assert.ok(outline.style !== 'none' && outline.width >= 2, `${order.at(-1)}: ${JSON.stringify(outline)}`)
  }
  assert.equal(order[0], 'Skip to content')
  const form = order.slice(order.indexOf('Name')).map((name) => name.split(' (')[0])
  const wanted = ['Name', 'Whom: segment', 'What: template', 'Sender name', 'Sender address', 'Replies go to']
  assert.deepEqual(form.slice(0, wanted.length), wanted)
  assert.ok(form.at(-1).startsWith('Save and review'), order.join(' → '))
})

step('a campaign is planned with variants, a holdout and a local time', async () => {
  await stage.open('/campaigns/new')
  await page.getByLabel('Name', { exact: true }).first().fill('Planned by hand')
  await page.getByLabel('What: template').selectOption({ index: 1 })
  await page.getByLabel('Sender name').fill('The test')
  await page.getByLabel('Sender address').fill('test@example.com')
  await page.getByLabel('Try variants on a part of the audience first').check()
  await button('Add variant').click()
  const third = page.getByRole('group', { name: 'Variant C' })
  await third.getByLabel('Subject').fill('A third subject')
  await third.getByLabel('Percent').fill('40')
  await page.getByText('The percentages make 107, and should make 100.').waitFor()
  await third.getByLabel('Percent').fill('33')
  await page.getByText('The percentages make 107, and should make 100.').waitFor({ state: 'detached' })
  await page.getByLabel('Percent of the audience (optional)').fill('12.5')
  await page.getByLabel("When each customer's own clock shows a time").check()
  await page.getByLabel('Local date and time').fill('2126-11-27T09:00')
  await page.getByLabel('Attribute with the time zone').selectOption('zone_of_the_test')
  await button('Save and review').click()
  await page.getByRole('heading', { name: 'Who gets which variant' }).waitFor()
  await page.getByRole('heading', { name: 'When they get it' }).waitFor()
  await page.getByText('Held out for comparison').waitFor()
  const made = (await stage.call('/v1/campaigns?limit=1')).items[0]
  assert.equal(made.holdout_percent, 12.5)
  assert.deepEqual(made.test.variants.map(({ name, weight, subject }) => [name, weight, subject]), [['A', 34, null], ['B', 33, null], ['C', 33, 'A third subject']])
  assert.equal(made.local.at, '2126-11-27T09:00:00')
})

step('what holds for every campaign is set in one place', async () => {
  await stage.open('/settings?tab=sending')
  await page.getByLabel('From so many mails on').fill('500')
  await page.getByLabel('To (optional)').fill('ops@example.com')
  await button('Save').click()
  await page.getByText('Alerts need an address to come from').first().waitFor()
  await page.getByLabel('From (optional)').fill('hub@example.com')
  await button('Save').click()
  await until('the rules are kept', async () => (await stage.call('/v1/sending-rules')).bounce_pause.from_mails === 500)
  await stage.open('/alerts')
  await page.getByRole('heading', { level: 2, name: 'Nothing new' }).waitFor()
})

step('a template shows its versions, and a picture goes from the library into it', async () => {
  const template = await stage.call('/v1/templates', { name: 'Twice', subject: 'Hi', html: '<p>one</p>' })
  await stage.open(`/templates/${template.id}`)
  const editor = page.getByRole('textbox', { name: 'HTML' })
  await editor.click()
  await page.keyboard.press('Control+a')
  await page.keyboard.insertText('<p>two</p>')
  await button('Picture').click()
  const gif = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==', 'base64')
  await page.getByRole('dialog').locator('input[type=file]').setInputFiles({ name: 'dot.gif', mimeType: 'image/gif', buffer: gif })
  await page.getByRole('dialog').getByRole('button', { name: 'Insert dot.gif' }).click()
  await editor.getByText(/\/i\/\d+\/[\w-]{24}\.gif/).waitFor()
  await button('Save template').click()
  await page.getByText('Version 2', { exact: true }).waitFor()
  await button('Versions').click()
  const versions = page.getByRole('dialog', { name: 'Versions' })
  await versions.locator('pre .removed').getByText('<p>one</p>').waitFor()
  await versions.getByRole('button', { name: /^Version 1/ }).click()
  await versions.getByRole('button', { name: 'Restore version 1' }).click()
  await page.getByText('Version 3', { exact: true }).waitFor()
  await editor.getByText('<p>one</p>').waitFor()
})

step('a check leads to its line', async () => {
  await stage.open('/templates/new')
  const editor = page.getByRole('textbox', { name: 'HTML' })
  await page.getByLabel('Subject', { exact: true }).fill('Hi')
  await editor.click()
  await page.keyboard.press('Control+a')
  await page.keyboard.insertText('<p>\n<a href="nowhere">x</a></p>')
  const checks = page.getByRole('region', { name: 'Checks' })
  await checks.getByRole('button', { name: 'HTML, line 2' }).click()
  await until('the cursor is there', () => editor.locator('.cm-activeLine').getByText('nowhere').isVisible())
  await page.getByLabel('Name', { exact: true }).fill('Checked')
  await button('Save template').click()
  await page.getByRole('heading', { level: 1, name: 'Checked' }).waitFor()
})

step('a dialog keeps the focus, and gives it back', async () => {
  await stage.open('/settings?tab=tokens')
  await button('New token').focus()
  await page.keyboard.press('Enter')
  await page.getByRole('dialog', { name: 'New API token' }).waitFor()
  for (let press = 0; press < 20; press += 1) {
    await page.keyboard.press('Tab')
    assert.ok(await page.evaluate(() => document.activeElement === document.body || !!document.activeElement.closest('dialog')), await focused(page))
  }
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  assert.equal(await focused(page), 'New token')
})

step('a chosen theme stays', async () => {
  await page.emulateMedia({ colorScheme: null })
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  const choose = async (words) => {
    await page.keyboard.press('Control+k')
    await page.getByRole('combobox', { name: 'Search' }).fill(words)
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
  }
  await choose('dark theme')
  const dark = await ground()
  await page.reload()
  await page.getByRole('heading', { level: 1 }).waitFor()
  assert.equal(await ground(), dark)
  await choose('light theme')
  assert.notEqual(await ground(), dark)
})

step('signing out ends the session, and nobody comes in with a wrong password', async () => {
  await stage.addUser('viewer@example.com', 'viewer')
  await button('Sign out').click()
  await page.getByRole('heading', { name: 'Sign in to Tidings' }).waitFor()
  const found = []
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme })
    for (const width of [390, 1280]) {
      await page.setViewportSize({ width, height: 844 })
      await look(`sign-in at ${width}, ${colorScheme}`, found)
    }
  }
  assert.deepEqual(found, [])
  await page.getByLabel('E-mail').fill('viewer@example.com')
  await page.keyboard.press('Tab')
  assert.equal(await focused(page), 'Password')
  await page.keyboard.type('not the password')
  await page.keyboard.press('Enter')
  await page.getByRole('alert').filter({ hasText: 'do not belong together' }).waitFor()
})

step('a viewer signs in, looks, and is offered nothing to change', async () => {
  await page.getByLabel('Password').fill(PASSWORD)
  await button('Sign in').click()
  // One comes back to the screen one left.
  await page.getByText('Only admins of the workspace may see this.').waitFor()
  for (const screen of ['/', '/customers', '/imports', '/segments', '/templates', '/campaigns', '/settings']) {
    await stage.open(screen)
    await loaded(screen)
    assert.equal(await page.getByRole('main').getByRole('link', { name: /^(New (campaign|customer|segment|template)|Import)$/ }).count(), 0, screen)
    assert.equal(await page.getByRole('main').getByRole('button', { name: /^(New|Choose a file|Rename|Delete)/ }).count(), 0, screen)
  }
})

step('nothing was logged as an error, nothing ran that should not, nothing was blocked', async () => {
  assert.deepEqual(stage.faults, [])
})
