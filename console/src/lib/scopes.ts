/** What tokens and roles of the workspace's own may be allowed. */
export const SCOPES = [
  { name: 'customers:read', means: 'look at customers and the schema' },
  { name: 'customers:write', means: 'change customers, events and records' },
  { name: 'imports:read', means: 'look at imports' },
  { name: 'imports', means: 'and make them' },
  { name: 'segments:read', means: 'look at segments' },
  { name: 'segments', means: 'and change them' },
  { name: 'templates:read', means: 'look at templates' },
  { name: 'templates', means: 'and change them' },
  { name: 'campaigns:read', means: 'look at campaigns and their reports' },
  { name: 'campaigns', means: 'and change and launch them' },
  { name: 'mailbox', means: 'read the mailbox of a demo' },
  { name: 'audit', means: 'see who did what' },
  { name: 'admin', means: 'everything' },
]
