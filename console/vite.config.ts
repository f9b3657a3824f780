import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig, type Plugin } from 'vite'

/** Writes a `.gz` and a `.br` beside every text file of the build, so that the server only has to pick one. */
function precompress(): Plugin {
  let outDir = ''
  return {
    name: 'precompress',
    apply: 'build',
    configResolved(config) {
      outDir = join(config.root, config.build.outDir)
    },
    closeBundle() {
      for (const entry of readdirSync(outDir, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !/\.(js|css|html|svg)$/.test(entry.name)) continue
        const path = join(entry.parentPath, entry.name)
        const plain = readFileSync(path)
        if (plain.length < 1024) continue
        writeFileSync(`${path}.gz`, gzipSync(plain, { level: 9 }))
        writeFileSync(`${path}.br`, brotliCompressSync(plain))
      }
    },
  }
}

export default defineConfig({
  base: '/console/',
  plugins: [svelte(), precompress()],
  build: {
    // Every browser of the last two years: keeps light-dark() and oklch() as written.
    target: ['chrome123', 'edge123', 'firefox120', 'safari17.5'],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // `npm run dev` talks to a hub that runs on its usual port.
  server: { port: 5173, proxy: { '/v1': { target: 'http://127.0.0.1:8080', changeOrigin: true } } },
})
