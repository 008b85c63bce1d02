// Package interop has other people's programs verify service tokens, as a
// service would that is written with them. Each file has one verifier, to copy.
// The tests run all of them, those of other languages in the directories beside
// and the gateways, and write docs/interop.md.
package interop
