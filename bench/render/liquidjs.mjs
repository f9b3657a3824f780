// Renders the mail so many times with liquidjs and says how long that took, as JSON. The template
// is parsed once, and the first renders are not counted, so that the compiler has warmed up.
import { readFileSync } from 'node:fs'
import { Liquid } from 'liquidjs'

// liquidjs makes a formatter anew for each name of a month or a day, which takes ten times as long
// as everything else in this mail. Kept ones give the same text; that makes it the better rival.
const formatters = new Map()
const DateTimeFormat = Intl.DateTimeFormat
Intl.DateTimeFormat = function (locale, options) {
  const key = JSON.stringify([locale, options])
  if (!formatters.has(key)) formatters.set(key, new DateTimeFormat(locale, options))
  return formatters.get(key)
}

const read = (name) => readFileSync(new URL(name, import.meta.url), 'utf8')
const renders = Number(process.argv[2] ?? 10000)
const engine = new Liquid({ timezoneOffset: 0 })
const template = engine.parse(read('mail.liquid'))
const data = JSON.parse(read('mail.json'))

let output = ''
for (let i = 0; i < 2000; i++) output = engine.renderSync(template, data)
const started = process.hrtime.bigint()
for (let i = 0; i < renders; i++) output = engine.renderSync(template, data)
const seconds = Number(process.hrtime.bigint() - started) / 1e9
console.log(JSON.stringify({ seconds, renders, output }))
