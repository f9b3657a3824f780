/**
 * Opens a native dialog, which keeps the focus inside and closes on Escape. What is answered closes it and gives the focus back
 * to where it was: by then Svelte has taken the dialog out of the page, so the browser no longer does.
 */
export function showModal(dialog: HTMLDialogElement): () => void {
  const before = document.activeElement
  dialog.showModal()
  return () => {
    dialog.close()
    if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true })
  }
}
