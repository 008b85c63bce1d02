"use strict"

// Shows a stream of server-sent events, which ends with the session.
const card = document.querySelector("#live")
const show = (state, text, detail) => {
  card.dataset.state = state
  document.querySelector("#state").textContent = text
  document.querySelector("#detail").textContent = detail
}

let failures = 0
const source = new EventSource("/live/events")

source.addEventListener("alive", event => {
  failures = 0
  show("alive", "Your session is alive", `Logged in as ${JSON.parse(event.data)}. The server last said so at ${new Date().toLocaleTimeString()}.`)
})

source.addEventListener("ended", () => {
  source.close() // or the browser would connect again
  show("ended", "Your session has ended", "Somebody logged you out, or nothing happened for too long. Log in again to go on.")
})

// After a lost connection the browser connects again by itself. It gives up
// when the answer is an error, and this page does after five failures in a row.
source.addEventListener("error", () => {
  failures++
  if (source.readyState !== EventSource.CLOSED && failures < 5) return
  source.close()
  show("lost", "The server can’t be reached", "Your session may go on. Reload this page to see.")
})
