package interop_test

func gateways() []program { return nil }
