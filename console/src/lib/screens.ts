/** Every screen of the console, on one page. Each is loaded when it is first opened. */
import type { Component } from 'svelte'
import type { IconName } from '../ui/Icon.svelte'

type Load = () => Promise<{ default: Component }>

// One entry each: a choice between two imports in one expression would lose the styles of both in the build.
const loads = {
  overview: () => import('../screens/Overview.svelte'),
  customers: () => import('../screens/Customers.svelte'),
  customer: () => import('../screens/Customer.svelte'),
  customerForm: () => import('../screens/CustomerForm.svelte'),
  imports: () => import('../screens/Imports.svelte'),
  import: () => import('../screens/Import.svelte'),
  segments: () => import('../screens/Segments.svelte'),
  segment: () => import('../screens/Segment.svelte'),
  templates: () => import('../screens/Templates.svelte'),
  template: () => import('../screens/Template.svelte'),
  blocks: () => import('../screens/Blocks.svelte'),
  block: () => import('../screens/Block.svelte'),
  images: () => import('../screens/Images.svelte'),
  campaigns: () => import('../screens/Campaigns.svelte'),
  campaign: () => import('../screens/Campaign.svelte'),
  campaignForm: () => import('../screens/CampaignForm.svelte'),
  alerts: () => import('../screens/Alerts.svelte'),
  mailbox: () => import('../screens/Mailbox.svelte'),
  settings: () => import('../screens/Settings.svelte'),
} satisfies Record<string, Load>

interface Screen {
  /** First part of the address. */
  name: string
  label: string
  icon: IconName
  /** Pressed after `g`. */
  key: string
  list: Load
  /** What an id behind the name opens. */
  one?: Load
  /** What `new`, or an id and `edit`, opens; without it, `one` does that too. */
  form?: Load
}

export const SCREENS: Screen[] = [
  { name: '', label: 'Overview', icon: 'home', key: 'o', list: loads.overview },
  { name: 'customers', label: 'Customers', icon: 'people', key: 'c', list: loads.customers, one: loads.customer, form: loads.customerForm },
  { name: 'imports', label: 'Imports', icon: 'upload', key: 'i', list: loads.imports, one: loads.import },
  { name: 'segments', label: 'Segments', icon: 'segment', key: 's', list: loads.segments, one: loads.segment },
  { name: 'templates', label: 'Templates', icon: 'template', key: 't', list: loads.templates, one: loads.template },
  { name: 'blocks', label: 'Content blocks', icon: 'braces', key: 'b', list: loads.blocks, one: loads.block },
  { name: 'images', label: 'Images', icon: 'image', key: 'l', list: loads.images },
  { name: 'campaigns', label: 'Campaigns', icon: 'campaign', key: 'p', list: loads.campaigns, one: loads.campaign, form: loads.campaignForm },
  { name: 'alerts', label: 'Alerts', icon: 'bell', key: 'a', list: loads.alerts },
  { name: 'mailbox', label: 'Mailbox', icon: 'mailbox', key: 'm', list: loads.mailbox },
  { name: 'settings', label: 'Settings', icon: 'settings', key: 'e', list: loads.settings },
]

export function loadScreen(screen: Screen, [, id, action]: string[]): ReturnType<Load> {
  if (!id || !screen.one) return screen.list()
  if (screen.form && (id === 'new' || action === 'edit')) return screen.form()
  return screen.one()
}

/** The screens of this hub: only a demo has a mailbox. */
export function visible(demo: boolean): Screen[] {
  return SCREENS.filter((screen) => demo || screen.name !== 'mailbox')
}
