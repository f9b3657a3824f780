/** A campaign's plan, from the form to the API and back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modules } from './harness.mjs'

const [{ blankPlan, planForm, planBody, evenWeights, resized, chanceWord, spread }] = await modules('/src/lib/plans.ts')

const full = {
  local: null, holdout_percent: 7.5,
  test: {
    variants: [
      { name: 'A', weight: 60, subject: null, template_id: null, template_version: null },
      { name: 'B', weight: 40, subject: 'Now', template_id: 'x', template_version: 3 },
    ],
    share_percent: 20, metric: 'conversions', hours: 12, otherwise: 'first',
  },
  goal: { table: 'orders', time_field: 'at', amount_field: 'total', window_hours: 36 },
}

test('a plan comes back from the form as it went in', () => {
  for (const plan of [full, { ...full, test: null }, { ...full, goal: null }, { local: null, holdout_percent: null, test: null, goal: null }]) {
    const { local, ...rest } = plan
    assert.deepEqual(planBody(planForm(plan)), rest)
  }
})

test('an untouched form plans nothing', () => {
  assert.deepEqual(planBody(blankPlan()), { holdout_percent: null, test: null, goal: null })
})

test('weights always make 100', () => {
  for (let count = 2; count <= 8; count += 1) {
    const weights = evenWeights(count)
    assert.equal(weights.reduce((sum, one) => sum + one, 0), 100)
    assert.ok(Math.max(...weights) - Math.min(...weights) <= 1)
  }
  const three = resized(blankPlan().variants, 3)
  assert.deepEqual(three.map((one) => [one.name, one.weight]), [['A', 34], ['B', 33], ['C', 33]])
  assert.deepEqual(resized(three, 2).map((one) => one.weight), [50, 50])
})

test('figures are put into words', () => {
  assert.equal(chanceWord(1), 'no evidence yet')
  assert.equal(chanceWord(0.034), 'at most 3.4 % if they were equal')
  assert.equal(chanceWord(0.0000001), 'less than 0.1 % if they were equal')
  assert.equal(spread({ difference: 2.1, low: -0.4, high: 4.6 }, ' points'), '+2.10 points (-0.40 to 4.60)')
})
