package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Sweep removes the temporary files of writers of path that crashed. The files
// may hold old keys. The caller must hold [Lock]: a writer that is running
// would lose its file.
func Sweep(path string) error {
	target, err := resolve(path)
	if err != nil {
		return fmt.Errorf("durable: sweep: %w", err)
	}
	dir := filepath.Dir(target)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("durable: sweep: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if isTemp(e.Name(), target) {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("durable: sweep: %w", err)
	}
	return nil
}

const tempSuffix = ".tmp"

func tempPrefix(target string) string { return "." + filepath.Base(target) + "." }

// tempName returns a random name of the kind that Sweep finds. Its callers fail
// if the name is taken, so nobody gains from guessing it.
func tempName(target string) string {
	name := tempPrefix(target) + strconv.FormatUint(rand.Uint64(), 10) + tempSuffix
	return filepath.Join(filepath.Dir(target), name)
}

// isTemp reports whether name is one that writeTemp or tempName makes for
// target. Its random part has only digits, so that no file of a user is
// removed.
func isTemp(name, target string) bool {
	random, ok := strings.CutPrefix(name, tempPrefix(target))
	if !ok {
		return false
	}
	random, ok = strings.CutSuffix(random, tempSuffix)
	return ok && random != "" && strings.Trim(random, "0123456789") == ""
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
