package durable

import "os"

// WriteFileGated and CreateFileGated ask next before each step.
func WriteFileGated(path string, data []byte, perm os.FileMode, next func(step string) error) error {
	return write(path, data, perm, replace, next)
}

func CreateFileGated(path string, data []byte, perm os.FileMode, next func(step string) error) error {
	return write(path, data, perm, create, next)
}
