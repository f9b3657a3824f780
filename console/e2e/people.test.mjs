// Roles of the workspace's own, the second factor and the audit log, as people meet them.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before } from 'node:test'
import { PASSWORD, startStage, steps } from './harness.mjs'

let stage
let page
const step = steps(() => page)
const ANN = 'ann@example.com'

/** What an authenticator app shows for a key in base 32 (RFC 6238). */
function app(key, at = Date.now()) {
  const bits = [...key.replaceAll(' ', '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('')
  const bytes = Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => parseInt(byte, 2)))
  const count = Buffer.alloc(8)
  count.writeBigInt64BE(BigInt(Math.floor(at / 30_000)))
  const tag = createHmac('sha1', bytes).update(count).digest()
  return String((tag.readUInt32BE(tag[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}

before(async () => {
  stage = await startStage()
  page = stage.page
})
after(async () => { await stage?.stop() })

step('an admin makes a role of scopes and gives it to somebody', async () => {
  await stage.open('/settings?tab=roles')
  await page.getByRole('button', { name: 'New role' }).click()
  await page.getByLabel('Name').fill('analyst')
  for (const scope of ['customers:read', 'segments:read', 'campaigns:read']) await page.getByRole('checkbox', { name: scope }).check()
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByRole('row', { name: /analyst/ }).waitFor()
  await stage.addUser(ANN, 'viewer')
  await stage.open('/settings?tab=users')
  await page.getByLabel(`Role of ${ANN}`).selectOption('analyst')
  await page.getByText(`${ANN} is`).waitFor()
})

let key
let recovery
step('somebody sets up a second factor', async () => {
  // The demo signs everybody in at this machine, so this visitor signs out first.
  const visitor = await stage.visitor()
  await visitor.goto(`${stage.base}/console/`)
  await visitor.getByRole('button', { name: 'Sign out' }).click()
  await visitor.getByLabel('E-mail').fill(ANN)
  await visitor.getByLabel('Password').fill(PASSWORD)
  await visitor.getByRole('button', { name: 'Sign in' }).click()
  await visitor.getByRole('navigation', { name: 'Main' }).waitFor()
  await visitor.goto(`${stage.base}/console/settings?tab=account`)
  await visitor.getByRole('button', { name: 'Set it up' }).click()
  key = await visitor.getByTestId('totp-key').textContent()
  const picture = visitor.getByRole('img', { name: 'QR code' })
  assert.ok(await picture.evaluate((image) => image.complete && image.naturalWidth > 0), 'the QR code is drawn')
  if (process.env.TIDINGS_SHOTS) await visitor.screenshot({ path: `${process.env.TIDINGS_SHOTS}/totp.png` })
  await visitor.getByLabel('Code').fill('000000')
  await visitor.getByRole('dialog').getByRole('button', { name: 'Set it up' }).click()
  await visitor.getByText('not the code that the app shows now').waitFor()
  await visitor.getByLabel('Code').fill(app(key))
  await visitor.getByRole('dialog').getByRole('button', { name: 'Set it up' }).click()
  await visitor.getByText('Your recovery codes').waitFor()
  recovery = await visitor.locator('.codes code').allTextContents()
  assert.equal(recovery.length, 10)
  await visitor.getByRole('button', { name: 'I have kept them' }).click()
  await visitor.getByText('10 recovery codes left').waitFor()
  await visitor.getByRole('button', { name: 'Sign out' }).click()
  // The next sign-in asks for it.
  await visitor.getByLabel('E-mail').fill(ANN)
  await visitor.getByLabel('Password').fill(PASSWORD)
  await visitor.getByRole('button', { name: 'Sign in' }).click()
  await visitor.getByLabel('Code').fill(app(key))
  await visitor.getByRole('button', { name: 'Sign in' }).click()
  await visitor.getByText('wrong or was used before').waitFor()
  await visitor.getByLabel('Code').fill(recovery[0])
  await visitor.getByRole('button', { name: 'Sign in' }).click()
  await visitor.getByRole('navigation', { name: 'Main' }).waitFor()
  await visitor.context().close()
})

step('a workspace asks everybody for it once the admin has one', async () => {
  await stage.open('/settings?tab=roles')
  const box = page.getByRole('checkbox', { name: /Everybody needs a second factor/ })
  await box.click()
  await page.getByText('set up your own second factor first', { exact: false }).waitFor()
  assert.equal(await box.isChecked(), false)
})

step('the audit log tells who did it and is whole', async () => {
  await stage.open('/settings?tab=audit')
  await page.getByRole('row', { name: /roles\.put.*analyst/ }).waitFor()
  await page.getByRole('row', { name: /totp\.create/ }).waitFor()
  await page.getByRole('button', { name: 'Check the log' }).click()
  await page.getByText(/All \d+ entries are as they were written/).waitFor()
  if (process.env.TIDINGS_SHOTS) await page.screenshot({ path: `${process.env.TIDINGS_SHOTS}/audit.png` })
  await page.getByLabel('What was done').fill('users.change')
  await page.getByRole('row', { name: /users\.change/ }).waitFor()
  await page.getByRole('row', { name: /roles\.put/ }).waitFor({ state: 'detached' })
})

step('nothing went wrong that nobody saw', () => {
  const expected = /40[139]/
  assert.deepEqual(stage.faults.filter((fault) => !expected.test(fault)), [])
})
