// Loads the console's own modules as they are, through the tool that builds them.
import { createServer } from 'vite'

export async function modules(...paths) {
  const server = await createServer({ configFile: false, appType: 'custom', logLevel: 'error', server: { middlewareMode: true, hmr: false, ws: false }, optimizeDeps: { noDiscovery: true } })
  try {
    return await Promise.all(paths.map((path) => server.ssrLoadModule(path)))
  } finally {
    await server.close()
  }
}
