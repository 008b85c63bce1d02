package interop_test

// scripts returns the programs in other languages.
func scripts() []program { return nil }
