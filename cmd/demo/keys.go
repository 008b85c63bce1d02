package main

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	plans "github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/timeline"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
)

// makeKeys makes a key file with the keys that "keygen init" gives, unless there
// is one. An application that is not a demo leaves that to its operator.
func makeKeys(ctx context.Context, path string, stderr io.Writer) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // whether it is any good is told when it is read
	}
	set, err := rotation.New(keys.Policy{}, time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	switch err := (keys.File{Path: path}).Create(ctx, set); {
	case errors.Is(err, fs.ErrExist):
		return nil // somebody was faster
	case err != nil:
		return err
	}
	fmt.Fprintf(stderr, "demo: made new keys in %s; keep the file, or everybody is logged out\n", path)
	return nil
}

// drawKeys draws the lives of the keys in force, with what is to come.
func drawKeys(set *keys.Set, now time.Time) (template.HTML, error) {
	period := set.Policy().RotationPeriod
	plan, err := plans.Plan((*keyset.Set)(set), now, now.Add(-period/2), now.Add(2*period-period/8))
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = timeline.SVG(&out, plan)
	_, picture, _ := strings.Cut(out.String(), "<svg") // without the XML declaration
	return template.HTML("<svg" + picture), err        // package timeline escapes all that comes from the file
}
