// Shows only the operations that hold every word typed.
const field = document.getElementById('filter')
const sections = [...document.querySelectorAll('section')]
const texts = sections.map((section) => section.textContent.toLowerCase())
field.addEventListener('input', () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean)
  sections.forEach((section, at) => {
    const hidden = !words.every((word) => texts[at].includes(word))
    section.hidden = hidden
    const link = document.querySelector(`nav a[href="#${section.id}"]`)
    if (link) link.parentElement.hidden = hidden
  })
})
