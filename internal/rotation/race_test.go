//go:build race

package rotation_test

// raced reports whether the race detector is at work, which makes everything
// ten times as slow.
const raced = true
