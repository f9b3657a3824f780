/** A workspace as text: its files as an archive for the disk, and a folder of the disk as files. */
import type { DefinitionFile } from './types'

function bytesOf(file: DefinitionFile): Uint8Array {
  if (file.base64 === undefined) return new TextEncoder().encode(file.text ?? '')
  return Uint8Array.from(atob(file.base64), (c) => c.charCodeAt(0))
}

/** Files as a tar archive, beneath a folder. Names of ours have ASCII letters and fit its headers. */
export function tar(files: DefinitionFile[], folder: string): Uint8Array {
  const parts: Uint8Array[] = []
  for (const file of files) {
    const bytes = bytesOf(file)
    const header = new Uint8Array(512)
    const put = (at: number, text: string) => header.set(new TextEncoder().encode(text), at)
    const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0') + '\0'
    const path = `${folder}/${file.path}`
    // A long path is cut at a slash: its beginning has a place of its own.
    const cut = path.length > 100 ? path.indexOf('/', path.length - 101) : -1
    put(0, path.slice(cut + 1))
    if (cut > 0) put(345, path.slice(0, cut))
    put(100, octal(0o644, 7))
    put(108, octal(0, 7))
    put(116, octal(0, 7))
    put(124, octal(bytes.length, 11))
    put(136, octal(0, 11))
    put(148, ' '.repeat(8))
    put(156, '0')
    put(257, 'ustar\0' + '00')
    put(148, octal(header.reduce((sum, byte) => sum + byte, 0), 6) + ' ')
    const body = new Uint8Array(Math.ceil(bytes.length / 512) * 512)
    body.set(bytes)
    parts.push(header, body)
  }
  parts.push(new Uint8Array(1024))
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) { all.set(part, at); at += part.length }
  return all
}

/** A file of a folder that somebody chose, as the API takes it. The folder's own name goes, and what begins with a dot is left out: null. */
export function readable(path: string, bytes: Uint8Array): DefinitionFile | null {
  const inside = path.split('/').slice(1)
  if (!inside.length || inside.some((part) => part.startsWith('.'))) return null
  try {
    // A mark at the beginning is part of the text.
    return { path: inside.join('/'), text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) }
  } catch {
    let text = ''
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192))
    return { path: inside.join('/'), base64: btoa(text) }
  }
}
