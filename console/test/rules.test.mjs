import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modules } from './harness.mjs'

const [{ complete, describe, faultsByNode, fromRule, rootOf, toRule }, { attributeName, choices }] = await modules('/src/lib/rules.ts', '/src/lib/imports.ts')

const RULES = [
  { all: [] },
  { any: [{ tag: 'vip' }, { not: { segment: 'sleepers' } }, { group: 'staff' }] },
  { all: [{ attribute: 'country', op: 'in', value: ['DE', 'NL'] }, { attribute: 'newsletter', op: 'eq', value: false }] },
  { all: [{ event: 'order_placed', where: [{ property: 'total', op: 'gte', value: 20 }], within: '30d', count: { gte: 2 } }] },
  { all: [{ event: 'order_placed', count: { eq: 0 } }] },
  { all: [{ table: 'orders', where: [{ field: 'status', op: 'eq', value: 'paid' }], sum: 'total', gte: '100.50' }] },
  { all: [{ table: 'orders', count: { lte: 3 } }] },
  { all: [{ not: { not: { tag: 'a' } } }] },
  { all: [{ not: { any: [{ tag: 'a' }, { all: [{ tag: 'b' }, { tag: 'c' }] }] } }] },
  { all: [{ consent: 'email', topic: 'news', state: 'withdrawn' }, { not: { consent: 'sms', state: 'granted' } }] },
  { all: [{ attribute: 'country', op: 'exists' }] },
  { all: [{ event: 'order_placed', where: [{ property: 'code', op: 'starts_with', value: '20' }, { property: 'items', op: 'in', value: [1, 2] }], count: { gte: 1 } }] },
  { all: [{ event: 'order_placed', campaign: '0197', count: { gte: 1 } }] },
  { all: [{ table: 'orders', sum: 'total', gte: 1, lte: 5 }] },
  { all: [{ event: 'visit', count: { gte: 1, lte: 5 } }] },
]

test('what the builder reads it writes back', () => {
  for (const rule of RULES) {
    const written = toRule(rootOf(rule))
    const expected = JSON.stringify(rule) === JSON.stringify(RULES[7]) ? { all: [{ not: { all: [{ not: { tag: 'a' } }] } }] } : rule
    assert.deepEqual(written, expected)
  }
})

test('a rule whose root is one condition is shown inside a group', () => {
  assert.deepEqual(toRule(rootOf({ tag: 'vip' })), { all: [{ tag: 'vip' }] })
  assert.deepEqual(toRule(rootOf({})), { all: [] })
  assert.deepEqual(toRule(rootOf({ not: { all: [{ tag: 'a' }] } })), { all: [{ not: { all: [{ tag: 'a' }] } }] })
})

test('a fault finds the condition it is about', () => {
  const root = rootOf({ all: [{ tag: 'a' }, { not: { any: [{ attribute: 'country', op: 'eq', value: 'x' }, { tag: 'b' }] } }] })
  const paths = new Map()
  toRule(root, paths)
  const inner = root.children[1].children
  const cases = [
    ['rule.all[0].tag', root.children[0].id],
    ['rule.all[1].not.any[0].value', inner[0].id],
    ['rule.all[1].not.any[1]', inner[1].id],
    ['rule.all[1].not', root.children[1].id],
    ['all[0]', root.children[0].id],
    ['rule.all[10].tag', root.id],
    ['rule', root.id],
  ]
  for (const [path, id] of cases) {
    assert.deepEqual([...faultsByNode([{ path, message: 'wrong' }], paths)], [[id, 'wrong']], path)
  }
})

test('a rule is sent only once it is filled in', () => {
  const cases = [
    [{ all: [] }, true],
    [{ all: [{ attribute: 'country', op: 'eq', value: '' }] }, false],
    [{ all: [{ attribute: 'country', op: 'in', value: [] }] }, false],
    [{ all: [{ attribute: 'country', op: 'exists' }] }, true],
    [{ any: [{ all: [{ tag: '' }] }] }, false],
    [{ all: [{ table: 'orders', sum: '', gte: 1 }] }, false],
    [{ all: [{ event: 'visit', where: [{ property: '', op: 'eq', value: 'x' }] }] }, false],
  ]
  for (const [rule, expected] of cases) assert.equal(complete(rootOf(rule)), expected, JSON.stringify(rule))
})

test('a rule reads as a sentence', () => {
  const cases = [
    [{ all: [] }, 'everyone'],
    [{ all: [{ attribute: 'country', op: 'eq', value: 'DE' }, { tag: 'vip' }] }, 'country is DE and tag vip'],
    [{ all: [{ tag: 'a' }, { any: [{ tag: 'b' }, { not: { group: 'c' } }] }] }, 'tag a and (tag b or not in group c)'],
    [{ all: [{ event: 'order', within: '30d', count: { gte: 2 } }] }, 'did order at least 2× in 30 days'],
  ]
  for (const [rule, expected] of cases) assert.equal(describe(fromRule(rule)), expected)
})

test('a column becomes what was chosen, else what is suggested, else nothing', () => {
  const column = (index, header, suggestion) => ({ index, header, samples: [], suggestion })
  const columns = [column(0, 'E-mail', { to: 'email' }), column(1, 'Points', { to: 'points', create: { kind: 'integer' } }), column(2, null, null)]
  const suggested = [{ column: 0, to: 'email' }, { column: 1, to: 'points', create: { kind: 'integer' } }, { column: 2, to: 'ignore' }]
  assert.deepEqual(choices(columns, null), suggested)
  const chosen = choices(columns, { mode: 'upsert', columns: [{ column: 'E-mail', to: 'ignore' }, { column: 2, to: 'phone' }] })
  assert.deepEqual(chosen, [{ column: 0, to: 'ignore' }, suggested[1], { column: 2, to: 'phone' }])
})

test('a header becomes a usable name', () => {
  const cases = [['Last order (€)', 'last_order'], ['Größe', 'grosse'], ['Prénom', 'prenom'], ['2nd address', 'column_4'], ['', 'column_4'], [null, 'column_4']]
  for (const [header, expected] of cases) assert.equal(attributeName(header, 3), expected)
})
