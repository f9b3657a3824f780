// Puts the sign-up forms of this hub where a page asks for them. Without it the link stays.
(() => {
  const fill = (place, html) => {
    const parsed = new DOMParser().parseFromString(html, 'text/html')
    const main = parsed.querySelector('main')
    if (!main) return
    place.replaceChildren(...main.childNodes)
    for (const trap of place.querySelectorAll('.trap')) trap.style.cssText = 'position:absolute;left:-9999px;width:1px;height:1px;overflow:hidden'
    const form = place.querySelector('form')
    if (!form) return
    form.addEventListener('submit', async (event) => {
      event.preventDefault()
      const button = form.querySelector('button')
      button.disabled = true
      try {
        const answer = await fetch(form.action, { method: 'POST', body: new URLSearchParams(new FormData(form)) })
        fill(place, await answer.text())
      } catch {
        button.disabled = false
      }
    })
  }
  for (const place of document.querySelectorAll('[data-tidings-form]')) {
    fetch(place.dataset.tidingsForm).then((answer) => answer.text()).then((html) => fill(place, html)).catch(() => {})
  }
})()
