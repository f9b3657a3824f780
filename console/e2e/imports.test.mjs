// A file from another country on its way: looked at, corrected, tried, kept as a mapping, imported,
// its refused rows taken home, and undone.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before } from 'node:test'
import { startStage, steps, until } from './harness.mjs'

let stage
let page
const step = steps(() => page)
const button = (name) => page.getByRole('button', { name, exact: true })
const shots = process.env.TIDINGS_SHOTS

/** Windows-1252, semicolons, decimal commas and days first. */
const TEXT = 'Kundennr;E-Mail;Vorname;Geburtstag;Umsatz;Anrede\r\n'
  + '7001;ZOE@example.com;  zo\u00eb ;31.12.1999;1.234,50;F\r\n'
  + '7002;jurgen@example.com;j\u00fcrgen;24.02.1980;12,00;M\r\n'
  + '7003;nobody;x;13.01.1980;1,00;M\r\n'
const FILE = { name: 'kunden.csv', mimeType: 'text/csv', buffer: Buffer.from(TEXT, 'latin1') }

async function shot(name) {
  if (!shots) return
  await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true })
}

/** The same screen on a phone, and in the dark. */
async function everywhere(name) {
  if (!shots) return
  await shot(name)
  await page.setViewportSize({ width: 390, height: 844 })
  await shot(`${name}-phone`)
  await page.setViewportSize({ width: 1280, height: 900 })
  await page.emulateMedia({ colorScheme: 'dark' })
  await shot(`${name}-dark`)
  await page.emulateMedia({ colorScheme: 'light' })
}

async function send() {
  await stage.open('/imports')
  await page.locator('input[type=file]').setInputFiles(FILE)
  await page.getByRole('heading', { level: 1, name: 'kunden.csv' }).waitFor()
}

before(async () => {
  stage = await startStage()
  page = stage.page
})
after(async () => { await stage?.stop() })

step('a file says how it is written', async () => {
  await send()
  await page.getByText('windows-1252', { exact: true }).waitFor()
  await page.getByText('semicolon between columns').waitFor()
  const first = page.getByRole('region', { name: 'The first rows' })
  await first.getByText('31.12.1999').waitFor()
  // Dates and amounts are read as they are written there.
  await first.getByText('→ 1999-12-31').waitFor()
  await first.getByText('→ 1234.50').waitFor()
})

step('the layout is corrected by hand, and back', async () => {
  await page.getByText('The columns look wrong?').click()
  await page.getByLabel('Between columns').selectOption(',')
  await page.getByText('comma between columns').waitFor()
  await everywhere('import-layout')
  await page.getByLabel('Between columns').selectOption(';')
  await page.getByText('semicolon between columns').waitFor()
})

step('values change on their way, and the first rows show it', async () => {
  await page.getByLabel('Vorname becomes').selectOption('new')
  await page.getByLabel('Change the values of Vorname').selectOption('trim')
  await page.getByLabel('Change the values of Vorname').selectOption('capitalise')
  await page.getByLabel('Anrede becomes').selectOption('new')
  await page.getByLabel('Change the values of Anrede').selectOption('lookup')
  await page.getByLabel('Lookup for Anrede, one a line').fill('F = Frau\nM = Herr')
  await page.getByLabel('Lookup for Anrede, one a line').blur()
  const first = page.getByRole('region', { name: 'The first rows' })
  await first.getByText('→ Frau').waitFor()
  await first.getByText('→ Zo\u00eb').waitFor()
  await everywhere('import-mapping')
})

step('a trial says what would become of each row', async () => {
  await button('Try it first').click()
  await page.getByRole('heading', { name: 'What would happen' }).waitFor()
  await page.getByRole('cell', { name: 'would be created' }).first().waitFor()
  assert.equal(await page.getByRole('cell', { name: 'would be created' }).count(), 2)
  await page.getByRole('cell', { name: 'would be refused' }).waitFor()
  await everywhere('import-trial')
})

step('the mapping is kept under a name', async () => {
  await button('Keep this mapping…').click()
  await page.getByLabel('Name', { exact: true }).fill('Customers of the shop')
  await everywhere('import-keep')
  await button('Keep').click()
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await button('Kept mappings…').click()
  await page.getByLabel('Name of Customers of the shop').fill('Kunden')
  await page.getByLabel('Name of Customers of the shop').blur()
  await page.getByLabel('Name of Kunden').waitFor()
  await page.getByRole('button', { name: 'Close' }).click()
})

step('the file is imported and its refused rows come back', async () => {
  await button('Start import').click()
  await page.getByRole('heading', { name: 'Report' }).waitFor()
  await button('Download refused rows').waitFor()
  await everywhere('import-report')
  const [download] = await Promise.all([page.waitForEvent('download'), button('Download refused rows').click()])
  const text = await readFile(await download.path(), 'latin1')
  assert.match(text, /^Kundennr;E-Mail;Vorname;Geburtstag;Umsatz;Anrede;reason\r\n7003;nobody;/)
})

step('the same file maps itself by the kept mapping', async () => {
  await send()
  await page.getByText('Mapped as “Kunden” says', { exact: false }).waitFor()
  await button('Cancel import').count()
})

step('the import is undone, and what stays is listed', async () => {
  const [imported] = (await stage.call('/v1/imports?limit=9')).items.filter(({ state }) => state === 'done')
  const found = await stage.call('/v1/customers?q=jurgen@example.com')
  const tagged = await page.evaluate(async ([id, slug]) => {
    const { csrf, workspaces } = await (await fetch('/v1/session')).json()
    const headers = { 'Tidings-Workspace': workspaces[0].slug, 'Tidings-CSRF': csrf, 'Content-Type': 'application/json' }
    return (await fetch(`/v1/customers/${id}/tags/${slug}`, { method: 'PUT', headers, body: '{}' })).status
  }, [found.items[0].id, 'vip'])
  assert.ok(tagged < 300, `tagging answered ${tagged}`)
  await stage.open(`/imports/${imported.id}`)
  await button('Undo this import…').click()
  await everywhere('import-undo-asked')
  await button('Undo the import').click()
  await page.getByRole('heading', { name: 'Undone' }).waitFor()
  await page.getByText('something else has happened since').waitFor()
  await everywhere('import-undone')
  await until('the customer is gone', async () => (await stage.call('/v1/customers?q=zoe@example.com')).items.length === 0)
  assert.equal((await stage.call('/v1/customers?q=jurgen@example.com')).items.length, 1)
})

step('nothing went wrong that nobody saw', () => {
  assert.deepEqual(stage.faults, [])
})
