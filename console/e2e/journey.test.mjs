// The way of a newcomer through the demo, in order: each step stands on the ones before it.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before } from 'node:test'
import { startStage, steps, until } from './harness.mjs'

const ROWS = 30_000
const SEGMENT_NAME = 'Newest <img src=x onerror=alert(1)>'
const DELIVERY_STATES = ['due', 'in_flight', 'sent', 'failed', 'bounced', 'skipped', 'uncertain', 'cancelled']
let stage
let page
const step = steps(() => page)

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

const numberIn = (text) => Number(text.replaceAll(',', ''))
const button = (name) => page.getByRole('button', { name, exact: true })
const region = (name) => page.getByRole('region', { name, exact: true })
const testId = (name) => page.getByTestId(name)
const heading = (name) => page.getByRole('heading', { level: 1, name })
const campaignId = () => page.url().split('/').at(-1)
const campaign = () => stage.call(`/v1/campaigns/${campaignId()}`)
const counts = async () => (await campaign()).counts

/** A figure once it is on the screen and has a value. */
const figureIs = (name, wanted) => until(`${name} is ${wanted}`, async () => (await testId(name).count()) === 1 && numberIn(await testId(name).innerText()) === wanted)

/** Chooses what is sent to whom; the form is filled in, the review opens. */
async function planCampaign(name, segment, template) {
  await stage.open('/campaigns/new')
  await page.getByLabel('Name', { exact: true }).fill(name)
  const whom = page.getByLabel('Whom: segment')
  const option = await whom.locator('option').filter({ hasText: segment }).getAttribute('value')
  await whom.selectOption(option)
  await page.getByLabel('What: template').selectOption({ label: template })
  await page.getByLabel('Sender name').fill('The test')
  await page.getByLabel('Sender address').fill('test@example.com')
}

step('the demo signs in by itself and shows what it holds', async () => {
  await page.goto(stage.base)
  await heading('Overview').waitFor()
  assert.equal(new URL(page.url()).pathname, '/console/')
  const { customers, segments } = await stage.call('/v1/overview')
  assert.ok(customers > 0)
  await page.getByRole('main').getByText(customers.toLocaleString('en'), { exact: true }).first().waitFor()
  for (const { name } of segments) await region('Segments').getByText(name, { exact: true }).waitFor()
})

step('the keyboard leads anywhere', async () => {
  await page.keyboard.press('Control+k')
  await page.getByRole('combobox', { name: 'Search' }).fill('segm')
  await page.keyboard.press('Enter')
  await heading('Segments').waitFor()
  await page.keyboard.press('g')
  await page.keyboard.press('c')
  await heading('Customers').waitFor()
  await page.keyboard.press('?')
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor()
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
})

step('customers are listed, searched and filtered', async () => {
  const rows = page.getByRole('main').getByRole('row')
  await rows.nth(1).waitFor()
  const { items } = await stage.call('/v1/customers?limit=2')
  await page.getByRole('searchbox', { name: 'Search customers' }).fill(items[1].email)
  await until('one row is left', async () => (await rows.count()) === 2)
  await rows.nth(1).getByText(items[1].email).waitFor()
  await page.getByRole('searchbox', { name: 'Search customers' }).fill('nobody-is-called-so')
  await page.getByRole('heading', { name: 'Nobody found' }).waitFor()
  await button('Show everyone').click()
  await rows.nth(2).waitFor()
  await button('Filter').click()
  await button('Condition').click()
  await page.getByLabel('Attribute', { exact: true }).selectOption('country')
  await page.getByLabel('Value', { exact: true }).fill('NL')
  await button('Apply filter').click()
  await button('Remove filter').waitFor()
  await until('all shown are from there', async () => {
    const countries = await page.locator('td[data-label="country"]').allInnerTexts()
    return countries.length > 1 && countries.every((country) => country === 'NL')
  })
})

step('the palette finds a customer, whose profile and timeline open', async () => {
  const { items } = await stage.call(`/v1/customers?limit=50&filter=${encodeURIComponent('{"event":"order_placed","count":{"gte":1}}')}`)
  const { email, id } = items.find((customer) => customer.email)
  await page.keyboard.press('Control+k')
  await page.getByRole('combobox', { name: 'Search' }).fill(email)
  await page.getByRole('option').filter({ hasText: email }).click()
  await page.getByRole('tab', { name: 'Timeline' }).waitFor()
  await page.getByRole('complementary', { name: 'Profile' }).getByText(email).first().waitFor()
  const events = await stage.call(`/v1/customers/${id}/events?limit=40`)
  const entries = region('History').getByRole('listitem')
  await entries.filter({ hasText: 'Order placed' }).first().waitFor()
  assert.equal(await entries.count(), events.items.length)
  await page.getByRole('tab', { name: 'Orders' }).click()
  await region('History').getByRole('row').nth(1).waitFor()
})

step('a tag is put on and taken off, and its name is only text', async () => {
  const tag = '<b onclick=alert(1)>tag'
  await button('Add tag').click()
  await page.getByRole('textbox', { name: 'New tag' }).fill(tag)
  await button('Add').click()
  await button(`Remove tag ${tag}`).click()
  await button(`Remove tag ${tag}`).waitFor({ state: 'detached' })
})

step('a messy file is imported, and its bad rows are explained', async () => {
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
  const report = region('Report')
  await report.getByText(`${ROWS.toLocaleString('en')} rows read`).waitFor()
  await report.getByText(`Created ${(ROWS - 2).toLocaleString('en')}`).waitFor()
  await report.getByText('Refused 2').waitFor()
  const refusals = region('Refused rows').getByRole('row')
  await refusals.filter({ hasText: 'E-mail' }).filter({ hasText: 'not-an-address' }).waitFor()
  await refusals.filter({ hasText: 'Punkte' }).filter({ hasText: 'many' }).waitFor()
  assert.equal(await refusals.count(), 3, 'a head and two rows')
  const download = page.waitForEvent('download')
  await button('Download refused rows').click()
  const file = await download
  assert.equal(file.suggestedFilename(), 'errors-messy.csv')
  const [head, ...bad] = (await readFile(await file.path(), 'utf8')).replace('\uFEFF', '').trim().split(/\r?\n/)
  assert.match(head, /^Kundennummer;E-mail;Vorname;Punkte;Notiz;/)
  assert.equal(bad.length, 2)
  assert.match(bad[0], /^E2E-3;not-an-address;Reader 3;3;;.+/)
  assert.match(bad[1], /^E2E-5;reader5@e2e\.example\.com;Reader 5;many;;.+/)
})

step('a segment counts while it is built', async () => {
  await stage.open('/segments/new')
  await page.getByRole('textbox', { name: 'Name' }).fill(SEGMENT_NAME)
  const count = testId('count')
  await until('everyone is counted', async () => (await count.count()) === 1 && numberIn(await count.innerText()) > ROWS - 2)
  await button('Condition').click()
  await page.getByLabel('Attribute', { exact: true }).selectOption('e2e_points')
  await page.getByLabel('Comparison').selectOption('gt')
  await page.getByLabel('Value', { exact: true }).fill(String(ROWS - 100))
  await figureIs('count', 100)
  await button('JSON').click()
  const rule = JSON.parse(await page.getByLabel('Rule as JSON').inputValue())
  assert.deepEqual(rule, { all: [{ attribute: 'e2e_points', op: 'gt', value: ROWS - 100 }] })
  await button('Builder').click()
  await button('Save segment').click()
  await heading(SEGMENT_NAME).waitFor()
})

step('a template marks its fault at its line, then shows itself for a customer', async () => {
  await stage.open('/templates/new')
  await page.getByLabel('Name', { exact: true }).fill('Letter of the test')
  await page.getByLabel('Subject', { exact: true }).fill('For {{ customer.email }}')
  const editor = page.getByRole('textbox', { name: 'HTML' })
  const write = async (html) => {
    await editor.click()
    await page.keyboard.press('Control+a')
    await page.keyboard.insertText(html)
  }
  await write('<p>\nDear reader,\n{{ customer.email | no_such_filter }}</p>')
  await page.getByRole('alert').filter({ hasText: 'HTML, line 3, column ' }).waitFor()
  await editor.locator('.cm-line').nth(2).locator('.cm-lintRange-error').first().waitFor()
  await write(`<p>Dear {{ customer.email }},</p>\n<p><a href="${stage.base}/healthz">See it</a></p>\n<p><a href="{{ unsubscribe_url }}">No more</a></p>\n<script>alert(1)</script><img src=x onerror=alert(1)>`)
  await page.getByRole('alert').waitFor({ state: 'detached' })
  await page.frameLocator('iframe[title="Preview of the mail"]').getByText(/^Dear \S+@\S+,$/).waitFor()
  await button('Phone').click()
  await button('Save template').click()
  await heading('Letter of the test').waitFor()
})

step('marketing without consent reaches nobody, and the review says why', async () => {
  await planCampaign('Campaign of the test', 'Newest', 'Letter of the test')
  await button('Save and review').click()
  await figureIs('will-send', 0)
  await region('Who will get it').getByText('−100').waitFor()
  assert.ok(await button('Launch campaign').isDisabled())
})

step('a campaign is launched, arrives and adds up', async () => {
  await page.getByRole('link', { name: 'Edit' }).click()
  await page.getByRole('radio', { name: /Transactional/ }).check()
  await button('Save and review').click()
  await figureIs('will-send', 100)
  await button('Launch campaign').click()
  await button('Send 100 mails').click()
  await figureIs('sent', 100)
  await page.getByRole('main').getByText('Done', { exact: true }).first().waitFor()
  const told = await counts()
  assert.equal(told.audience, 100)
  assert.equal(DELIVERY_STATES.reduce((sum, state) => sum + told[state], 0), told.audience)
  await page.getByLabel('State', { exact: true }).selectOption('sent')
  await until('every delivery is listed', async () => (await region('Every delivery').getByRole('row').count()) > 1)
  const download = page.waitForEvent('download')
  await button('CSV').click()
  const lines = (await readFile(await (await download).path(), 'utf8')).trim().split(/\r?\n/)
  assert.equal(lines.length, 101, 'a head and a line for each')
})

step('a mail is opened in the mailbox, its link clicked, and the click counted', async () => {
  const report = page.url()
  await page.getByRole('link', { name: 'Mailbox' }).click()
  await page.getByRole('searchbox', { name: 'Search mails' }).fill('e2e.example.com')
  await region('Mails').getByRole('button').filter({ hasText: 'e2e.example.com' }).first().click()
  await region('Mail').getByRole('heading', { name: /^For reader\d+@e2e/ }).waitFor()
  const popup = page.waitForEvent('popup')
  await page.frameLocator('iframe[title^="Mail: "]').getByRole('link', { name: 'See it' }).click()
  const opened = await popup
  await opened.waitForURL('**/healthz')
  await opened.close()
  await button('Text').click()
  await region('Mail').getByText(/Dear reader\d+@e2e\.example\.com,/).waitFor()
  await button('Headers').click()
  await region('Mail').getByText('Message-ID', { exact: false }).first().waitFor()
  await button('Mail').click()
  await page.frameLocator('iframe[title^="Mail: "]').getByRole('link', { name: 'No more' }).waitFor()
  const mailbox = page.url()
  await page.goto(report)
  await until('the click is counted', async () => (await testId('clicked').count()) === 1 && (await testId('clicked').innerText()) === '1 customer')
  await region('Links').getByText(`${stage.base}/healthz`).waitFor()
  await page.goto(mailbox)
})

step('who unsubscribes is asked, thanked, counted and left alone', async () => {
  const mail = region('Mail')
  const popup = page.waitForEvent('popup')
  await page.frameLocator('iframe[title^="Mail: "]').getByRole('link', { name: 'No more' }).click()
  const asked = await popup
  await asked.getByRole('heading', { name: 'Stop these letters?' }).waitFor()
  await asked.getByRole('button', { name: 'Unsubscribe' }).click()
  await asked.getByRole('heading', { name: 'You are unsubscribed' }).waitFor()
  await asked.close()
  await mail.getByRole('link', { name: /@e2e\.example\.com/ }).click()
  const profile = page.getByRole('complementary', { name: 'Profile' })
  await profile.getByText('Withdrawn', { exact: true }).first().waitFor()
  const { items } = await stage.call('/v1/campaigns?limit=1')
  assert.equal(items[0].counts.unsubscribed, 1)
})

step('a big campaign pauses, goes on and is cancelled, and still adds up', async () => {
  await planCampaign('Campaign that is stopped', 'Everyone', 'Letter of the test')
  await page.getByRole('radio', { name: /Transactional/ }).check()
  await button('Save and review').click()
  await button('Launch campaign').click()
  await page.getByRole('dialog').getByRole('button', { name: /^Send [\d,]+ mails$/ }).click()
  await until('it sends, and everybody is decided on', async () => (await campaign()).state === 'sending')
  await region('Sending').waitFor()
  await button('Pause').click()
  await button('Resume').waitFor()
  await until('nothing is on its way any more', async () => (await counts()).in_flight === 0)
  const paused = await counts()
  assert.ok(paused.due > 0, 'some still wait')
  await figureIs('sent', paused.sent)
  assert.deepEqual(await counts(), paused, 'a paused campaign stands still')
  await button('Resume').click()
  await until('it goes on', async () => (await counts()).sent > paused.sent)
  await button('Cancel').click()
  await button('Cancel the campaign').click()
  await page.getByRole('main').getByText('Cancelled', { exact: true }).first().waitFor()
  await until('everything is settled', async () => { const { due, in_flight } = await counts(); return due + in_flight === 0 })
  const told = await counts()
  assert.ok(told.cancelled > 0)
  assert.equal(DELIVERY_STATES.reduce((sum, state) => sum + told[state], 0), told.audience)
  await figureIs('sent', told.sent)
  await region('Deliveries').getByText(`Cancelled ${told.cancelled.toLocaleString('en')}`).waitFor()
})

step('a customer by hand is refused with a word at the field, then stored', async () => {
  await stage.open('/customers/new')
  const mail = page.getByLabel('E-mail', { exact: true })
  await mail.fill('no address')
  await button('Create customer').click()
  await until('the field is marked', async () => (await mail.getAttribute('aria-invalid')) === 'true')
  await until('the fault has the focus', () => mail.evaluate((element) => element === document.activeElement))
  await mail.fill('by.hand@e2e.example.com')
  await button('Create customer').click()
  await page.getByRole('tab', { name: 'Timeline' }).waitFor()
  await button('Grant').click()
  await page.getByText('Granted', { exact: true }).waitFor()
})

step('a token is shown once', async () => {
  await stage.open('/settings?tab=tokens')
  await button('New token').click()
  await page.getByLabel('Name', { exact: true }).fill('Token of the test')
  await button('Create').click()
  assert.match(await testId('secret').innerText(), /^tdg_\S{20,}$/)
  await button('I have kept it').click()
  await page.getByRole('cell', { name: 'Token of the test', exact: true }).waitFor()
  assert.equal(await page.getByText(/tdg_/).count(), 0)
})

step('nothing was logged as an error, nothing ran that should not, nothing was blocked', async () => {
  assert.deepEqual(stage.faults, [])
})
