package cloakroom_test

import (
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadmeIsShort(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.LessOrEqual(t, strings.Count(string(text), "\n"), 150,
		"what is longer goes into docs/ or the packages' documentation")
}

// documents returns what people read, by its path. The programs of
// docs/frameworks.md import modules that this one doesn't have.
func documents(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	all := make(map[string]string)
	for _, path := range append(paths, "README.md", "SECURITY.md", "CONTRIBUTING.md") {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		all[path] = string(text)
	}
	return all
}

// blocks returns the code blocks of one language.
func blocks(text, language string) (all []string) {
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all
}

// The programs in the documents compile.
func TestPrograms(t *testing.T) {
	found := 0
	for path, text := range documents(t) {
		if path == "docs/frameworks.md" {
			continue
		}
		for _, program := range blocks(text, "go") {
			if !strings.HasPrefix(program, "package main") {
				continue
			}
			found++
			file := filepath.Join(t.TempDir(), "main.go")
			require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
			out, err := exec.Command("go", "vet", file).CombinedOutput()
			assert.NoError(t, err, "%s: %s", path, out)
		}
	}
	require.NotZero(t, found, "no program found: the test would pass without testing")
}

// The store that docs/stores.md shows passes the suite for stores.
func TestStoreOfYourOwn(t *testing.T) {
	dir := t.TempDir()
	const suite = `package mystore

import (
	"testing"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/storetest"
)

func TestStore(t *testing.T) { storetest.Run(t, func(*testing.T) opaque.Store { return New() }) }
`
	store, test := filepath.Join(dir, "mystore.go"), filepath.Join(dir, "mystore_test.go")
	programs := slices.DeleteFunc(blocks(documents(t)["docs/stores.md"], "go"), func(block string) bool {
		return !strings.Contains(block, "\npackage mystore\n")
	})
	require.Len(t, programs, 1)
	require.NoError(t, os.WriteFile(store, []byte(programs[0]), 0o600))
	require.NoError(t, os.WriteFile(test, []byte(suite), 0o600))
	out, err := exec.Command("go", "test", "-count=1", store, test).CombinedOutput()
	require.NoError(t, err, "%s", out)
	formatted, err := format.Source([]byte(programs[0]))
	require.NoError(t, err)
	require.Equal(t, string(formatted), programs[0])
}

// The tests that back the promises in docs/stores.md are in the files that it
// names.
func TestPromisesOfStores(t *testing.T) {
	text := documents(t)["docs/stores.md"]
	links := regexp.MustCompile(`\[(Test\w+)\]\(\.\./([^)]+)\)`).FindAllStringSubmatch(text, -1)
	require.NotEmpty(t, links)
	for _, link := range links {
		file, err := os.ReadFile(link[2])
		require.NoError(t, err)
		assert.Contains(t, string(file), "\nfunc "+link[1]+"(t *testing.T) {", link[2])
	}
}

// What the documents show as configuration can be read.
func TestConfigurations(t *testing.T) {
	found := 0
	for path, text := range documents(t) {
		for _, block := range blocks(text, "yaml") {
			if strings.Contains(block, "volumes:") {
				continue // for Kubernetes
			}
			found++
			_, err := config.Parse([]byte(block))
			assert.NoError(t, err, "%s:\n%s", path, block)
		}
	}
	require.NotZero(t, found, "no configuration found: the test would pass without testing")
}

// The files and headings that the documents link to exist.
func TestLinks(t *testing.T) {
	all := documents(t)
	for path, text := range all {
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(link[1], "#")
			if strings.HasPrefix(target, "https://") {
				continue
			}
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
				_, err := os.Stat(to)
				assert.NoError(t, err, "%s", path)
			}
			if anchor != "" {
				assert.Contains(t, headings(all[to]), anchor, "%s links to %s", path, link[1])
			}
		}
	}
}

// headings returns the anchors of a document, spelt as GitHub spells them.
func headings(text string) (anchors []string) {
	for _, match := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		anchor := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(match[1]), "")
		anchors = append(anchors, strings.ReplaceAll(anchor, " ", "-"))
	}
	return anchors
}
