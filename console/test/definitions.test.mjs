import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { modules } from './harness.mjs'

const [{ readable, tar }] = await modules('/src/lib/definitions.ts')
const picture = Uint8Array.from([137, 80, 78, 71, 0, 255, 10])

test('an archive of files unpacks to those files', () => {
  const long = `templates/${'x'.repeat(60)}/body.${'y'.repeat(40)}.html`
  const files = [
    { path: 'tidings.toml', text: 'format = 1\n' },
    { path: long, text: 'é\r\n'.repeat(400) },
    { path: 'images/a.png', base64: btoa(String.fromCharCode(...picture)) },
    { path: 'blocks/empty.liquid', text: '' },
  ]
  const folder = mkdtempSync(join(tmpdir(), 'tidings-tar-'))
  try {
    writeFileSync(join(folder, 'a.tar'), tar(files, 'shop'))
    execFileSync('tar', ['xf', 'a.tar'], { cwd: folder })
    for (const { path, text, base64 } of files) {
      const expected = text === undefined ? Buffer.from(base64, 'base64') : Buffer.from(text)
      assert.deepEqual(readFileSync(join(folder, 'shop', path)), expected, path)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('files of a chosen folder lose its name, and hidden ones are left out', () => {
  const text = (value) => new TextEncoder().encode(value)
  assert.deepEqual(readable('shop/groups/a.toml', text('name = "a"')), { path: 'groups/a.toml', text: 'name = "a"' })
  assert.deepEqual(readable('shop/a.liquid', text('\ufeffx')), { path: 'a.liquid', text: '\ufeffx' })
  assert.deepEqual(readable('shop/images/a.png', picture), { path: 'images/a.png', base64: 'iVBORwD/Cg==' })
  for (const path of ['shop/.git/config', 'shop/.plan-shop.json', 'alone.toml']) assert.equal(readable(path, text('')), null)
})
