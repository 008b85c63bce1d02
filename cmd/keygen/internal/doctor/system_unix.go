//go:build unix

package doctor

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// mayWrite asks the system, without writing anything.
func mayWrite(dir string) error { return syscall.Access(dir, 2) } // W_OK

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

func tryDirectorySync(_ context.Context, dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
