/** What the console says about campaigns and deliveries: colours, words and shares. Pure. */
import { words } from './format'
import type { Campaign, Counts, DeliveryState } from './types'

export const DELIVERY_STATES: { state: DeliveryState; label: string; color: string; means: string }[] = [
  { state: 'sent', label: 'Sent', color: 'var(--accent)', means: 'A mail server took it' },
  { state: 'in_flight', label: 'On its way', color: 'var(--chart-2)', means: 'Being handed over right now' },
  { state: 'due', label: 'Waiting', color: 'var(--chart-quiet)', means: 'Its turn comes' },
  { state: 'skipped', label: 'Skipped', color: 'light-dark(#8b8d93, #737986)', means: 'Not sent on purpose, with a reason' },
  { state: 'bounced', label: 'Bounced', color: 'light-dark(#d97706, #f0a040)', means: 'The address does not take mail' },
  { state: 'failed', label: 'Failed', color: 'light-dark(#c2362c, #ff8f85)', means: 'Could not be delivered' },
  { state: 'uncertain', label: 'Uncertain', color: 'light-dark(#b0891a, #e5c453)', means: 'Nobody can know whether it arrived' },
  { state: 'cancelled', label: 'Cancelled', color: 'light-dark(#b5b6b1, #565c68)', means: 'Stopped before its turn' },
]

export function deliveryParts(counts: Counts): { label: string; count: number; color: string }[] {
  return DELIVERY_STATES.map(({ state, label, color }) => ({ label, count: counts[state], color }))
}

export function deliveryWord(state: DeliveryState): string {
  return DELIVERY_STATES.find((known) => known.state === state)?.label ?? words(state)
}

/** Everything that will not change any more. */
export function settled(counts: Counts): number {
  return counts.audience - counts.due - counts.in_flight
}

export function isLive(campaign: Pick<Campaign, 'state'>): boolean {
  return campaign.state === 'sending' || campaign.state === 'preparing'
}

const REASONS: Record<string, string> = {
  no_consent: 'No consent', no_address: 'No address', suppressed: 'Suppressed', hard_bounced: 'Bounced before', erased: 'Erased', customer_gone: 'Customer is gone',
  unsubscribed: 'Unsubscribed', cap_reached: 'Had enough mail already', holdout: 'Held out for comparison', global_holdout: 'Held out of all campaigns', local_time_passed: 'Local time had passed',
}

export function reasonWord(reason: string | null): string {
  return reason ? (REASONS[reason] ?? words(reason)) : ''
}
