// What a machine can see of how a page treats those who use it without eyes, mouse or good light.

/** What stands between a page and somebody who cannot see it or has no mouse; an empty list is good. */
export function accessibilityFaults(page) {
  return page.evaluate(() => {
    const faults = []
    const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest('[aria-hidden="true"]')
    const all = (selector) => [...document.querySelectorAll(selector)].filter(shown)
    const text = (id) => document.getElementById(id)?.textContent?.trim() ?? ''
    const name = (element) =>
      element.getAttribute('aria-label')?.trim() ||
      (element.getAttribute('aria-labelledby') ?? '').split(' ').map(text).join(' ').trim() ||
      [...(element.labels ?? [])].map((label) => label.textContent.trim()).join(' ') ||
      (/^(INPUT|SELECT|TEXTAREA)$/.test(element.tagName) ? '' : element.textContent.trim()) ||
      element.title
    if (!document.documentElement.lang) faults.push('the page names no language')
    if (!document.title) faults.push('the page has no title')
    if (all('h1').length !== 1) faults.push(`${all('h1').length} main headings`)
    if (all('main').length !== 1) faults.push(`${all('main').length} main landmarks`)
    for (const element of all('a[href], button, input:not([type=hidden]), select, textarea, iframe, [role=progressbar], [role=img], [role=dialog], dialog, nav')) {
      if (!name(element)) faults.push(`no name: ${element.outerHTML.slice(0, 120)}`)
    }
    for (const element of all('img')) if (!element.hasAttribute('alt')) faults.push(`no alt: ${element.outerHTML.slice(0, 120)}`)
    for (const element of all('[tabindex]')) if (Number(element.getAttribute('tabindex')) > 0) faults.push(`takes the focus out of turn: ${element.outerHTML.slice(0, 120)}`)
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id)
    for (const id of new Set(ids.filter((id, index) => ids.indexOf(id) !== index))) faults.push(`two elements are called ${id}`)
    for (const element of all('[aria-describedby], [aria-controls], [aria-labelledby]')) {
      for (const attribute of ['aria-describedby', 'aria-controls', 'aria-labelledby']) {
        for (const id of (element.getAttribute(attribute) ?? '').split(' ').filter(Boolean)) if (!document.getElementById(id)) faults.push(`${attribute} names ${id}, which is not there`)
      }
    }
    return faults
  })
}

/** Text that is hard to read on its ground: under 4.5 to 1, or 3 to 1 where it is large. What is switched off may be fainter. */
export function contrastFaults(page) {
  return page.evaluate(() => {
    const pen = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })
    const seen = new Map()
    /** Red, green and blue of 0 to 255, and how much of the ground is covered, from any notation. */
    function parts(colour) {
      if (!seen.has(colour)) {
        pen.clearRect(0, 0, 1, 1)
        pen.fillStyle = colour
        pen.fillRect(0, 0, 1, 1)
        const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data
        seen.set(colour, [red, green, blue, alpha / 255])
      }
      return seen.get(colour)
    }
    const over = ([r, g, b, a], ground) => [r, g, b].map((part, index) => part * a + ground[index] * (1 - a))
    const light = (colour) => colour.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
      .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0)
    function ground(element) {
      const layers = []
      for (let at = element; at; at = at.parentElement) {
        const layer = parts(getComputedStyle(at).backgroundColor)
        layers.push(layer)
        if (layer[3] === 1) break
      }
      return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255])
    }
    const faults = []
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement
      if (!walker.currentNode.textContent.trim() || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue
      if (element.closest('script, style, option, svg, .sr, .skip, :disabled, .stale')) continue
      const style = getComputedStyle(element)
      const behind = ground(element)
      const [one, other] = [light(over(parts(style.color), behind)), light(behind)].sort((a, b) => b - a)
      const ratio = (one + 0.05) / (other + 0.05)
      const size = parseFloat(style.fontSize)
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700)
      if (ratio < (large ? 3 : 4.5)) faults.push(`${ratio.toFixed(2)} to 1: “${walker.currentNode.textContent.trim().slice(0, 40)}”`)
    }
    return [...new Set(faults)]
  })
}

/** Screens must never scroll sideways; a table or a strip inside may. */
export function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
}

/** The name of what has the focus, as somebody who hears it is told. */
export function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement
    return element.getAttribute('aria-label') || [...(element.labels ?? [])].map((label) => label.textContent.trim()).join(' ') || element.textContent.trim() || element.tagName
  })
}
