/** What a campaign plans beside its message, between the API's words and the fields of a form. Pure. */
import type { Campaign, CampaignPlan, TestPlan } from './types'

export interface VariantForm { name: string; weight: number; subject: string; template: string; version: number | null }

export interface PlanForm {
  holdout: number | null
  test: boolean
  variants: VariantForm[]
  share: number
  metric: TestPlan['metric']
  hours: number
  otherwise: TestPlan['otherwise']
  goal: boolean
  table: string
  timeField: string
  amountField: string
  windowDays: number
}

export function blankPlan(): PlanForm {
  return {
    holdout: null,
    test: false, variants: [variant('A', 50), variant('B', 50)], share: 20, metric: 'clicks', hours: 24, otherwise: 'best',
    goal: false, table: '', timeField: '', amountField: '', windowDays: 7,
  }
}

function variant(name: string, weight: number): VariantForm {
  return { name, weight, subject: '', template: '', version: null }
}

export function planForm(campaign: CampaignPlan): PlanForm {
  const form = blankPlan()
  form.holdout = campaign.holdout_percent
  const { test, goal } = campaign
  if (test) {
    Object.assign(form, { test: true, share: test.share_percent, metric: test.metric, hours: test.hours, otherwise: test.otherwise })
    form.variants = test.variants.map((one) => ({ name: one.name, weight: one.weight, subject: one.subject ?? '', template: one.template_id ?? '', version: one.template_version ?? null }))
  }
  if (goal) Object.assign(form, { goal: true, table: goal.table, timeField: goal.time_field, amountField: goal.amount_field ?? '', windowDays: goal.window_hours / 24 })
  return form
}

/** What the API is told; the local time stands in another part of the form. */
export function planBody(form: PlanForm): Omit<CampaignPlan, 'local'> {
  return {
    holdout_percent: form.holdout || null,
    test: form.test
      ? {
          variants: form.variants.map((one) => ({
            name: one.name.trim(), weight: one.weight, subject: one.subject.trim() || null,
            template_id: one.template || null, template_version: one.template ? one.version : null,
          })),
          share_percent: form.share, metric: form.metric, hours: form.hours, otherwise: form.otherwise,
        }
      : null,
    goal: form.goal
      ? { table: form.table, time_field: form.timeField, amount_field: form.amountField || null, window_hours: Math.round(form.windowDays * 24) }
      : null,
  }
}

/** Weights that make 100, as even as whole numbers are. */
export function evenWeights(count: number): number[] {
  const base = Math.floor(100 / count)
  return Array.from({ length: count }, (_, at) => base + (at < 100 - base * count ? 1 : 0))
}

/** The variants with one more or one fewer, and even weights. */
export function resized(variants: VariantForm[], count: number): VariantForm[] {
  const names = [...'ABCDEFGH'].filter((name) => !variants.some((one) => one.name === name))
  const kept = variants.slice(0, count)
  while (kept.length < count) kept.push(variant(names.shift() ?? `Variant ${kept.length + 1}`, 0))
  const weights = evenWeights(count)
  return kept.map((one, at) => ({ ...one, weight: weights[at] ?? 0 }))
}

/** Whether anything is planned that has results of its own. */
export function hasResults(campaign: Pick<Campaign, 'holdout_percent' | 'test' | 'goal'>): boolean {
  return campaign.holdout_percent !== null || campaign.test !== null || campaign.goal !== null
}

const ARMS: Record<string, string> = { message: 'Everybody', test: 'Test', rest: 'After the test', holdout: 'Held out', global_holdout: 'Held out of all campaigns' }

export function armWord(arm: string): string {
  return ARMS[arm] ?? arm
}

/** How sure one may be, in words that hold however often somebody looks. */
export function chanceWord(chance: number): string {
  if (chance >= 0.995) return 'no evidence yet'
  if (chance < 0.001) return 'less than 0.1 % if they were equal'
  return `at most ${(chance * 100).toFixed(chance < 0.1 ? 1 : 0)} % if they were equal`
}

/** A difference with its interval: `+2.10 (0.40 to 3.80)`. */
export function spread(found: { difference: number; low: number; high: number }, unit = ''): string {
  const text = (value: number) => value.toFixed(2)
  return `${found.difference > 0 ? '+' : ''}${text(found.difference)}${unit} (${text(found.low)} to ${text(found.high)})`
}
