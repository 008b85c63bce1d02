//go:build !unix

package main

import "io/fs"

// Modes say nothing about who can read a file on this system.
const hasModes = false

func ownerOf(fs.FileInfo) (uid int, ok bool) { return 0, false }

// mayWrite can't tell: only trying does.
func mayWrite(string) error { return nil }

func isReadOnly(error) bool { return false }

// syncDirectory does nothing, as package durable: this system has no such thing.
func syncDirectory(string) error { return nil }
