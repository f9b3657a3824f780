/** Every screen of the console, on one page. Each is loaded when it is first opened. */
import type { Component } from 'svelte'
import type { IconName } from '../ui/Icon.svelte'

interface Screen { name: string; label: string; icon: IconName; key: string; load: (parts: string[]) => Promise<{ default: Component }> }

export const SCREENS: Screen[] = [
  { name: '', label: 'Overview', icon: 'home', key: 'o', load: () => import('../screens/Overview.svelte') },
  {
    name: 'customers', label: 'Customers', icon: 'people', key: 'c',
    load: ([, id, action]) => {
      if (!id) return import('../screens/Customers.svelte')
      return id === 'new' || action === 'edit' ? import('../screens/CustomerForm.svelte') : import('../screens/Customer.svelte')
    },
  },
  { name: 'imports', label: 'Imports', icon: 'upload', key: 'i', load: ([, id]) => (id ? import('../screens/Import.svelte') : import('../screens/Imports.svelte')) },
  { name: 'segments', label: 'Segments', icon: 'segment', key: 's', load: ([, id]) => (id ? import('../screens/Segment.svelte') : import('../screens/Segments.svelte')) },
  { name: 'templates', label: 'Templates', icon: 'template', key: 't', load: ([, id]) => (id ? import('../screens/Template.svelte') : import('../screens/Templates.svelte')) },
  {
    name: 'campaigns', label: 'Campaigns', icon: 'campaign', key: 'p',
    load: ([, id, action]) => {
      if (!id) return import('../screens/Campaigns.svelte')
      return id === 'new' || action === 'edit' ? import('../screens/CampaignForm.svelte') : import('../screens/Campaign.svelte')
    },
  },
  { name: 'mailbox', label: 'Mailbox', icon: 'mailbox', key: 'm', load: () => import('../screens/Mailbox.svelte') },
  { name: 'settings', label: 'Settings', icon: 'settings', key: 'e', load: () => import('../screens/Settings.svelte') },
]

/** The screens of this hub: only a demo has a mailbox. */
export function visible(demo: boolean): Screen[] {
  return SCREENS.filter((screen) => demo || screen.name !== 'mailbox')
}
