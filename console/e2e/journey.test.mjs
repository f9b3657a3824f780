// The way of a newcomer through the demo, in order: each step stands on the ones before it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { accessibilityFaults, startStage } from './harness.mjs'

const ROWS = 30_000
const SEGMENT_NAME = 'Newest <img src=x onerror=alert(1)>'
let stage
let page

before(async () => {
  stage = await startStage()
  page = stage.page
})
after(async () => { await stage?.stop() })

/** A file as people have them: BOM, semicolons, CRLF, quotes, a line break inside a field, and two rows that cannot be stored. */
function messyFile() {
  const lines = ['Kundennummer;E-mail;Vorname;Punkte;Notiz']
  for (let row = 1; row <= ROWS; row += 1) {
    const mail = row === 3 ? 'not-an-address' : `reader${row}@e2e.example.com`
    const points = row === 5 ? 'many' : row
    const note = row % 1000 === 0 ? `"two lines,\r\n""quoted"" ; and split"` : ''
    lines.push(`E2E-${row};${mail};Reader ${row};${points};${note}`)
  }
  return Buffer.from(`\uFEFF${lines.join('\r\n')}\r\n`, 'utf8')
}

const figure = async (locator) => Number((await locator.innerText()).replaceAll(',', ''))
const link = (name) => page.getByRole('link', { name })
const button = (name) => page.getByRole('button', { name, exact: true })

async function until(what, check) {
  const deadline = Date.now() + 60_000
  for (;;) {
    if (await check()) return
    if (Date.now() > deadline) assert.fail(`waited in vain: ${what}`)
    await page.waitForTimeout(250)
  }
}

test('the demo signs in by itself and shows what it holds', async () => {
  await page.goto(stage.base)
  await page.getByRole('heading', { name: 'Overview' }).waitFor()
  assert.equal(new URL(page.url()).pathname, '/console/')
  const { customers } = await stage.call('/v1/overview')
  assert.ok(customers > 0)
  await page.getByRole('main').getByText(customers.toLocaleString('en'), { exact: true }).first().waitFor()
})

test('the keyboard leads anywhere', async () => {
  await page.keyboard.press('Control+k')
  await page.getByRole('combobox', { name: 'Search' }).fill('segm')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { level: 1, name: 'Segments' }).waitFor()
  await page.keyboard.press('g')
  await page.keyboard.press('c')
  await page.getByRole('heading', { level: 1, name: 'Customers' }).waitFor()
  await page.keyboard.press('?')
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor()
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
})

test('the palette finds a customer, whose profile opens', async () => {
  const { items } = await stage.call('/v1/customers?limit=1')
  await page.keyboard.press('Control+k')
  await page.getByRole('combobox', { name: 'Search' }).fill(items[0].email)
  await page.getByRole('option').filter({ hasText: items[0].email }).click()
  await page.getByRole('tab', { name: 'Timeline' }).waitFor()
  await page.getByRole('complementary', { name: 'Profile' }).getByText(items[0].email).first().waitFor()
})

test('a tag is put on and taken off, and its name is only text', async () => {
  const tag = '<b onclick=alert(1)>tag'
  await button('Add tag').click()
  await page.getByRole('textbox', { name: 'New tag' }).fill(tag)
  await button('Add').click()
  await button(`Remove tag ${tag}`).click()
  await button(`Remove tag ${tag}`).waitFor({ state: 'detached' })
})

test('a messy file is imported, and its bad rows are explained', async () => {
  await stage.open('/imports')
  await page.getByLabel('CSV file').setInputFiles({ name: 'messy.csv', mimeType: 'text/csv', buffer: messyFile() })
  await page.getByRole('heading', { name: 'Which column is what?' }).waitFor()
  await page.getByText('semicolon between columns').waitFor()
  await page.getByLabel('Kundennummer becomes').selectOption('external_id')
  await page.getByLabel('E-mail becomes').selectOption('email')
  await page.getByLabel('Vorname becomes').selectOption('ignore')
  await page.getByLabel('Notiz becomes').selectOption('ignore')
  await page.getByLabel('Punkte becomes').selectOption('new')
  await page.getByLabel('Name of the new attribute').fill('e2e_points')
  await page.getByLabel('Kind of the new attribute').selectOption('integer')
  const moving = page.getByRole('progressbar', { name: 'Import' }).waitFor()
  await button('Start import').click()
  await moving
  await page.getByRole('heading', { name: 'Report' }).waitFor({ timeout: 120_000 })
  const report = page.getByRole('region', { name: 'Report' })
  await report.getByText(`Created ${(ROWS - 2).toLocaleString('en')}`).waitFor()
  await report.getByText('Refused 2').waitFor()
  const refusals = page.getByRole('region', { name: 'Refused rows' }).getByRole('row')
  assert.equal(await refusals.count(), 3, 'a head and two rows')
  await refusals.filter({ hasText: 'E-mail' }).filter({ hasText: 'not-an-address' }).waitFor()
  await refusals.filter({ hasText: 'Punkte' }).filter({ hasText: 'many' }).waitFor()
  const download = page.waitForEvent('download')
  await button('Download refused rows').click()
  assert.equal((await download).suggestedFilename(), 'errors-messy.csv')
})

test('a segment counts while it is built', async () => {
  await stage.open('/segments/new')
  await page.getByRole('textbox', { name: 'Name' }).fill(SEGMENT_NAME)
  const count = page.getByTestId('count')
  await until('everyone is counted', async () => (await count.isVisible()) && (await figure(count)) > ROWS - 2)
  await button('Condition').click()
  await page.getByLabel('Attribute', { exact: true }).selectOption('e2e_points')
  await page.getByLabel('Comparison').selectOption('gt')
  await page.getByLabel('Value', { exact: true }).fill(String(ROWS - 100))
  await until('a hundred are counted', async () => (await count.isVisible()) && (await figure(count)) === 100)
  await button('JSON').click()
  const rule = JSON.parse(await page.getByLabel('Rule as JSON').inputValue())
  assert.deepEqual(rule, { all: [{ attribute: 'e2e_points', op: 'gt', value: ROWS - 100 }] })
  await button('Builder').click()
  await button('Save segment').click()
  await page.getByRole('heading', { level: 1, name: SEGMENT_NAME }).waitFor()
})

test('a template marks its fault, then shows itself for a customer', async () => {
  await stage.open('/templates/new')
  await page.getByLabel('Name', { exact: true }).fill('Letter of the test')
  await page.getByLabel('Subject', { exact: true }).fill('For {{ customer.email }}')
  const editor = page.getByRole('textbox', { name: 'HTML' })
  const write = async (html) => {
    await editor.click()
    await page.keyboard.press('Control+a')
    await page.keyboard.insertText(html)
  }
  await write('<p>\n{% if customer.email %}\nnever closed</p>')
  await page.getByRole('alert').filter({ hasText: /HTML, line \d+, column \d+/ }).waitFor()
  await write(`<p>Dear {{ customer.email }},</p>\n<p><a href="${stage.base}/healthz">See it</a></p>\n<script>alert(1)</script><img src=x onerror=alert(1)>`)
  await page.getByRole('alert').waitFor({ state: 'detached' })
  const frame = page.frameLocator('iframe[title="Preview of the mail"]')
  await frame.getByText(/^Dear \S+@\S+,$/).waitFor()
  await button('Phone').click()
  await button('Save template').click()
  await page.getByRole('heading', { level: 1, name: 'Letter of the test' }).waitFor()
})

test('marketing without consent reaches nobody, and the review says why', async () => {
  await stage.open('/campaigns/new')
  await page.getByLabel('Name', { exact: true }).fill('Campaign of the test')
  const segment = page.getByLabel('Whom: segment')
  const option = await segment.locator('option').filter({ hasText: 'Newest' }).getAttribute('value')
  await segment.selectOption(option)
  await page.getByLabel('What: template').selectOption({ label: 'Letter of the test' })
  await page.getByLabel('Sender name').fill('The test')
  await page.getByLabel('Sender address').fill('test@example.com')
  await button('Save and review').click()
  await page.getByRole('heading', { name: 'Who will get it' }).waitFor()
  assert.equal(await figure(page.getByTestId('will-send')), 0)
  await page.getByRole('region', { name: 'Who will get it' }).getByText('−100').waitFor()
  assert.ok(await button('Launch campaign').isDisabled())
})

test('a campaign is launched, arrives and adds up', async () => {
  await page.getByRole('link', { name: 'Edit' }).click()
  await page.getByRole('radio', { name: /Transactional/ }).check()
  await button('Save and review').click()
  await until('a hundred will get it', async () => (await page.getByTestId('will-send').isVisible()) && (await figure(page.getByTestId('will-send'))) === 100)
  await button('Launch campaign').click()
  await button('Send 100 mails').click()
  await until('all are sent', async () => (await page.getByTestId('sent').isVisible()) && (await figure(page.getByTestId('sent'))) === 100)
  await page.getByRole('main').getByText('Done', { exact: true }).first().waitFor()
  const id = page.url().split('/').at(-1)
  const { counts } = await stage.call(`/v1/campaigns/${id}`)
  const parts = ['due', 'in_flight', 'sent', 'failed', 'bounced', 'skipped', 'uncertain', 'cancelled']
  assert.equal(parts.reduce((sum, part) => sum + counts[part], 0), counts.audience)
  await page.getByLabel('State', { exact: true }).selectOption('sent')
  await page.getByRole('region', { name: 'Every delivery' }).getByRole('row').nth(1).waitFor()
})

test('a mail is opened in the mailbox, its link clicked, and the click counted', async () => {
  const campaign = page.url()
  await link('Mailbox').click()
  await page.getByRole('searchbox', { name: 'Search mails' }).fill('e2e.example.com')
  await page.getByRole('region', { name: 'Mails' }).getByRole('button').filter({ hasText: 'e2e.example.com' }).first().click()
  await page.getByRole('region', { name: 'Mail', exact: true }).getByRole('heading', { name: /^For reader\d+@e2e/ }).waitFor()
  const popup = page.waitForEvent('popup')
  await page.frameLocator('iframe[title^="Mail: "]').getByRole('link', { name: 'See it' }).click()
  const opened = await popup
  await opened.waitForURL('**/healthz')
  await opened.close()
  await button('Headers').click()
  await page.getByText('Message-ID', { exact: false }).first().waitFor()
  await page.goto(campaign)
  await until('the click is counted', async () => (await page.getByTestId('clicked').isVisible()) && (await page.getByTestId('clicked').innerText()) === '1 customer')
})

test('a customer by hand is refused with a word at the field, then stored', async () => {
  await stage.open('/customers/new')
  await page.getByLabel('E-mail', { exact: true }).fill('no address')
  await button('Create customer').click()
  const mail = page.getByLabel('E-mail', { exact: true })
  await until('the field is marked', async () => (await mail.getAttribute('aria-invalid')) === 'true')
  await mail.fill('by.hand@e2e.example.com')
  await button('Create customer').click()
  await page.getByRole('tab', { name: 'Timeline' }).waitFor()
  await button('Grant').click()
  await page.getByText('Granted', { exact: true }).waitFor()
})

test('a token is shown once', async () => {
  await stage.open('/settings?tab=tokens')
  await button('New token').click()
  await page.getByLabel('Name', { exact: true }).fill('Token of the test')
  await button('Create').click()
  assert.match(await page.getByTestId('secret').innerText(), /^tdg_\S{20,}$/)
  await button('I have kept it').click()
  await page.getByRole('cell', { name: 'Token of the test', exact: true }).waitFor()
  assert.equal(await page.getByText(/tdg_/).count(), 0)
})

test('a chosen theme stays', async () => {
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  await page.keyboard.press('Control+k')
  await page.getByRole('combobox', { name: 'Search' }).fill('dark')
  await page.keyboard.press('Enter')
  const dark = await ground()
  await page.reload()
  await page.getByRole('heading', { level: 1 }).waitFor()
  assert.equal(await ground(), dark)
  await page.keyboard.press('Control+k')
  await page.getByRole('combobox', { name: 'Search' }).fill('light theme')
  await page.keyboard.press('Enter')
  assert.notEqual(await ground(), dark)
})

test('every screen can be used without eyes or mouse, and fits a phone', async () => {
  const first = async (path) => (await stage.call(`${path}?limit=1`)).items[0].id
  const screens = [
    '/', '/customers', '/customers/new', `/customers/${await first('/v1/customers')}`, '/imports', `/imports/${await first('/v1/imports')}`,
    '/segments', '/segments/new', `/segments/${await first('/v1/segments')}`, '/templates', '/templates/new', `/templates/${await first('/v1/templates')}`,
    '/campaigns', '/campaigns/new', `/campaigns/${await first('/v1/campaigns')}`, '/mailbox', '/settings', '/settings?tab=users', '/settings?tab=groups',
  ]
  const found = []
  for (const width of [1280, 390]) {
    await page.setViewportSize({ width, height: 844 })
    for (const screen of screens) {
      await stage.open(screen)
      await until(`${screen} is loaded`, async () => (await page.locator('[aria-busy="true"]').count()) === 0)
      for (const fault of await accessibilityFaults(page)) found.push(`${screen} at ${width}: ${fault}`)
      const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
      if (over > 0) found.push(`${screen} at ${width}: ${over} px too wide`)
    }
  }
  assert.deepEqual(found, [])
  await button('Menu').click()
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Campaigns' }).click()
  await page.getByRole('heading', { level: 1, name: 'Campaigns' }).waitFor()
  await page.setViewportSize({ width: 1280, height: 900 })
})

test('the focus can be seen', async () => {
  await stage.open('/segments')
  await page.keyboard.press('Tab')
  for (let step = 0; step < 6; step += 1) {
    await page.keyboard.press('Tab')
    const outline = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement)
      return { name: document.activeElement.outerHTML.slice(0, 80), style: style.outlineStyle, width: parseFloat(style.outlineWidth) }
    })
    assert.ok(outline.style !== 'none' && outline.width >= 2, JSON.stringify(outline))
  }
})

test('signing out ends the session', async () => {
  await button('Sign out').click()
  await page.getByRole('heading', { name: 'Sign in to Tidings' }).waitFor()
})

test('nothing was logged as an error, nothing ran that should not, nothing was blocked', () => {
  assert.deepEqual(stage.faults, [])
})
