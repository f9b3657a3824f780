// Loaded before the first paint, so that a chosen theme never flashes.
try {
  const theme = localStorage.getItem('tidings-theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
} catch {
  // Storage may be switched off; the system's theme serves then.
}
