// Package e2e holds tests that drive Cloakroom with a real browser, for what
// only browsers decide: which cookie is sent and kept when requests overlap,
// and when a page came from another site. They need Chromium.
//
// A test opens one page. Its script does what a visitor does, and reports to
// the test's server. Where requests overlap, the server holds them back until
// they are in the order that the test wants, so no test depends on timing.
//
// The pages of the demo forbid other scripts. Their test drives the browser
// with the Chrome DevTools Protocol instead, and waits for what a page shows.
package e2e
